/* SPDX-License-Identifier: Apache-2.0 */
#ifndef SUPERVISOR_DOCTOR_H
#define SUPERVISOR_DOCTOR_H

/*
 * "cove-supervisor --doctor [--json]", which is what `cove doctor` becomes: says what this machine
 * offers, what Cove uses of it, and why. The exit status: 0 when sandboxes can run here, 1 when
 * not, 2 when the arguments are wrong. argv[1] is "--doctor".
 */
int doctor_main(int argc, char **argv);

#endif
