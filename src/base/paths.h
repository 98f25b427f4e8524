/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_PATHS_H
#define BASE_PATHS_H

/*
 * Where things are. State of the user's:
 *
 *	data     $XDG_DATA_HOME/cove     images/NAME/, sandboxes/NAME/
 *	cache    $XDG_CACHE_HOME/cove
 *	runtime  $XDG_RUNTIME_DIR/cove   sandboxes/NAME.sock; 0700
 *
 * or $COVE_HOME/{data,cache,run} when COVE_HOME is set. Parts of the installation:
 *
 *	share    guest/{vmlinuz,initramfs.cpio}, images/NAME/ (read-only built-in images)
 *	libexec  cove-supervisor, cove-image
 *
 * are found by $COVE_SHARE_DIR and $COVE_LIBEXEC_DIR; else beside the running program or library,
 * in a build folder (its own folder) as well as in an installation (PREFIX/share/cove and
 * PREFIX/libexec/cove); else where they were configured to be installed.
 */

#include "base/macro.h"

enum paths_base {
	PATHS_DATA,
	PATHS_CACHE,
	PATHS_RUNTIME,
	PATHS_SHARE,
};

/*
 * base's path with "/" and the formatted rest appended, allocated. Nothing is created. -ENOMEM, or
 * -ENOENT when the environment has neither COVE_HOME nor an XDG variable nor HOME to go by.
 */
int paths_make(enum paths_base base, char **ret, const char *format, ...) _printf_(3, 4);
/* The path of one of our own programs, by its file name. Whether it is there is not checked. */
int paths_libexec(const char *program, char **ret);

#endif
