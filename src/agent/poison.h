/* SPDX-License-Identifier: Apache-2.0 */
#ifndef AGENT_POISON_H
#define AGENT_POISON_H

/*
 * Included last by every file of the agent: what a static PID 1 must not call. Name services and
 * locales make glibc load shared objects at run time, which a guest need not have or may have
 * replaced; threads do not go with the agent's vfork(); and there is one way to start a process.
 *
 * The headers that declare them come first: a poisoned word may not even be declared.
 */
#include <dlfcn.h>
#include <grp.h>
#include <locale.h>
#include <netdb.h>
#include <pthread.h>
#include <pwd.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include <uv.h>

/* clang-format off */
#pragma GCC poison system popen wordexp
#pragma GCC poison fork vfork posix_spawn posix_spawnp uv_spawn
#pragma GCC poison getpwnam getpwnam_r getpwuid getpwent
#pragma GCC poison getgrnam getgrnam_r getgrgid getgrgid_r getgrent getgrouplist initgroups
#pragma GCC poison getaddrinfo gethostbyname getnameinfo getservbyname
#pragma GCC poison setlocale newlocale dlopen
#pragma GCC poison pthread_create uv_thread_create uv_queue_work
/* clang-format on */

#endif
