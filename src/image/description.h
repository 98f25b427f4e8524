/* SPDX-License-Identifier: Apache-2.0 */
#ifndef IMAGE_DESCRIPTION_H
#define IMAGE_DESCRIPTION_H

/* image.json: what an image says about itself. */

#include "image/store.h"

#define DESCRIPTION_FILE "image.json"
/* The environment may be as large as execve takes it (2 MiB), and JSON may escape all of it. */
#define DESCRIPTION_MAX_BYTES (16u << 20)

/* The config of an import: K=V, absolute paths, UTF-8. COVE_E_INVALID. */
int description_check(const struct image_import_options *options, struct cove_error *err);

/* disk_bytes and created_ns beside the options' config, made durable. Negative errno. */
int description_write(int dir_fd, const char *name, uint64_t disk_bytes, uint64_t created_ns,
		      const struct image_import_options *options);

/* Fills what image.json has. COVE_E_IMAGE. */
int description_read(int dir_fd, struct image *image, struct cove_error *err);

#endif
