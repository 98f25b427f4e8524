/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_BOOT_H
#define AGENT_BOOT_H

/*
 * The steps of a machine's start; main.c and start.c have their order. Each fills err with what it
 * was doing, on which path, and the errno, and returns a negative COVE_E_* code.
 */

#include <stdbool.h>
#include <stdint.h>

#include "base/macro.h"
#include "cove/error.h"
#include "wire/cove.pb-c.h"

/* Where the initramfs keeps the drivers that are modules, and the order to load them in. */
#define BOOT_MODULES_DIR "/modules"
/* The name of the virtio-serial port that leads to the supervisor. */
#define BOOT_PORT_NAME "org.cove.agent.0"
/* Where the sandbox's root is mounted before it becomes "/". */
#define BOOT_NEW_ROOT "/newroot"
/* The parent of the sessions' cgroups. */
#define BOOT_CGROUPS_DIR "/sys/fs/cgroup/cove"

/* Devices come up within milliseconds of their driver, unless they are not there at all. */
#define BOOT_DEVICE_MS 10000

/*
 * What sessions may not take: what the agent keeps of ended ones (SESSIONS_KEPT_BYTES), as much for
 * itself, and what the kernel needs to get things done.
 */
#define BOOT_MEMORY_RESERVE ((uint64_t)24 * 1024 * 1024)
#define BOOT_PIDS_RESERVE   64

/* ---- before START: the same for every machine ---- */

int boot_mount_kernel_filesystems(struct cove_error *err) _must_check_;
/* 0, 1 and 2 are the console, whatever the kernel could open before there was a /dev. */
void boot_open_console(void);
/* The parent of the sessions' cgroups, with limits that leave enough for everything else. */
int boot_make_cgroups(int *ret_fd, struct cove_error *err) _must_check_;
int boot_raise_loopback(struct cove_error *err) _must_check_;
/* A descriptor that gets the kernel's notes on devices that appear. */
int boot_listen_for_devices(int *ret_fd, struct cove_error *err) _must_check_;
/* Loads the modules in their order, and frees the memory of their files. */
int boot_load_modules(struct cove_error *err) _must_check_;
/* Waits until the port is there, and opens it. */
int boot_open_port(int devices_fd, int *ret_fd, struct cove_error *err) _must_check_;

/* ---- START: what makes it this machine ---- */

int boot_add_entropy(const ProtobufCBinaryData *entropy, struct cove_error *err) _must_check_;
int boot_set_clock(uint64_t realtime_ns, struct cove_error *err) _must_check_;
int boot_set_hostname(const char *hostname, struct cove_error *err) _must_check_;
int boot_mount_root(const Cove__Wire__Start *start, struct cove_error *err) _must_check_;
/* Moves those of boot_mount_kernel_filesystems() there. */
int boot_move_mounts(struct cove_error *err) _must_check_;
int boot_switch_root(struct cove_error *err) _must_check_;
/* Adds what is not the kernel's, where links of the image that start with a slash mean its own. */
int boot_furnish_root(bool read_only, struct cove_error *err) _must_check_;
/* Gives the machine its id, where the image has a place for it. */
int boot_set_machine_id(const ProtobufCBinaryData *id, struct cove_error *err) _must_check_;

#endif
