/* SPDX-License-Identifier: Apache-2.0 */
#include "image/source.h"

#include <archive.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/macro.h"

#define READ_BYTES (1 << 20)

/* What compressed archives of root filesystems unpack to, at the most that is usual. */
#define COMPRESSION_RATIO 5

struct source {
	struct source_options options;
	struct archive *archive;
	struct stat stat; /* of the file or folder */
	int fd;		  /* of an archive */
	int read_error;	  /* of it: libarchive's filters may report something else instead */
	uint8_t *buffer;
	uint64_t bytes_read;
	uint64_t size;
	bool can_restart;

	/* A folder's only. */
	char *folder; /* its real path, which all names begin with */
	struct archive_entry_linkresolver *links;
	struct archive_entry *entry;

	locale_t locale;
};

/*
 * libarchive converts names to the locale's character set, and normalises them on the way. In the
 * C locale it gives up and leaves the bytes as they are, which is what a filesystem wants.
 */
static locale_t enter_c_locale(const struct source *s)
{
	return uselocale(s->locale);
}

static void leave_c_locale(locale_t old)
{
	int saved = errno;
	uselocale(old);
	errno = saved;
}

static void note(const struct source *s, const char *path, const char *text)
{
	char line[512];
	if (!s->options.on_note)
		return;
	snprintf(line, sizeof(line), "%.200s: %.200s", path, text);
	s->options.on_note(s->options.arg, line);
}

/* Waits until fd (-1: nothing) can be read. -ECANCELED when asked to give up. */
static int wait_readable(const struct source *s, int fd)
{
	struct pollfd fds[] = {
		{ .fd = s->options.cancel_fd, .events = POLLIN },
		{ .fd = fd, .events = POLLIN },
	};
	while (poll(fds, ARRAY_SIZE(fds), fd >= 0 ? -1 : 0) < 0)
		if (errno != EINTR)
			return -errno;
	return fds[0].revents ? -ECANCELED : 0;
}

static la_ssize_t read_callback(struct archive *a, void *arg, const void **ret)
{
	struct source *s = arg;
	for (;;) {
		int r = wait_readable(s, s->fd);
		ssize_t n = -1;
		if (r >= 0) {
			n = read(s->fd, s->buffer, READ_BYTES);
			r = -errno;
		}
		if (n < 0 && (r == -EINTR || r == -EAGAIN))
			continue;
		if (n < 0) {
			s->read_error = r;
			archive_set_error(a, -r, "%s", error_errno_text(r));
			return -1;
		}
		s->bytes_read += (uint64_t)n;
		*ret = s->buffer;
		return n;
	}
}

/* What libarchive said, as ours. */
static int archive_failed(const struct source *s, const char *what, struct cove_error *err)
{
	const char *text = archive_error_string(s->archive);
	if (s->read_error == -ECANCELED)
		return error_set(err, COVE_E_STATE, "interrupted");
	if (s->read_error)
		return error_set_errno(err, COVE_E_SYSTEM, s->read_error, "%s", what);
	if (archive_errno(s->archive) == ENOMEM)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	return error_set(err, COVE_E_IMAGE, "%s: %.200s", what, text ? text : "cannot be read");
}

/*
 * One by one, for "all" would include formats that unpack by starting other programs, and formats
 * that nobody keeps a root filesystem in but whose parsers an attacker would like.
 */
static int open_archive(struct source *s, struct cove_error *err)
{
	static int (*const support[])(struct archive *) = {
		archive_read_support_format_tar,      archive_read_support_filter_gzip,
		archive_read_support_filter_bzip2,    archive_read_support_filter_xz,
		archive_read_support_filter_zstd,     archive_read_support_filter_lz4,
		archive_read_support_filter_compress, archive_read_support_filter_lzma,
		archive_read_support_filter_lzip,
	};

	s->archive = archive_read_new();
	s->buffer = malloc(READ_BYTES);
	if (!s->archive || !s->buffer)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	for (size_t i = 0; i < ARRAY_SIZE(support); i++)
		if (support[i](s->archive) < ARCHIVE_WARN)
			return archive_failed(s, "libarchive", err);
	if (archive_read_open(s->archive, s, NULL, read_callback, NULL) != ARCHIVE_OK)
		return archive_failed(s, "not a tar archive", err);
	s->size = S_ISREG(s->stat.st_mode) ? (uint64_t)s->stat.st_size : 0;
	if (archive_filter_count(s->archive) > 1)
		s->size *= COMPRESSION_RATIO;
	return 0;
}

static int open_folder(struct source *s, const char *name, struct cove_error *err)
{
	s->folder = realpath(name, NULL);
	if (!s->folder)
		return error_set_errno(err, COVE_E_NOT_FOUND, errno, "%.200s", name);
	s->archive = archive_read_disk_new();
	s->links = archive_entry_linkresolver_new();
	s->entry = archive_entry_new();
	if (!s->archive || !s->links || !s->entry)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	archive_entry_linkresolver_set_strategy(s->links, ARCHIVE_FORMAT_TAR);
	archive_read_disk_set_symlink_physical(s->archive);
	archive_read_disk_set_behavior(s->archive, ARCHIVE_READDISK_NO_FFLAGS);
	if (archive_read_disk_open(s->archive, s->folder) != ARCHIVE_OK)
		return archive_failed(s, s->folder, err);
	s->can_restart = true;
	return 0;
}

int source_open(const char *name, const struct source_options *options, struct source **ret,
		struct cove_error *err)
{
	_cleanup_(source_freep) struct source *s = calloc(1, sizeof(*s));
	if (!s)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	s->options = *options;
	s->fd = -1;
	s->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	if (!s->locale)
		return error_set_errno(err, COVE_E_SYSTEM, errno, "newlocale");

	bool from_stdin = !strcmp(name, "-");
	s->fd = from_stdin ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 3) :
			   /* not blocking: a FIFO is waited for where that can be cancelled */
			open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (s->fd < 0 || fstat(s->fd, &s->stat) < 0)
		return error_set_errno(err, errno == ENOENT ? COVE_E_NOT_FOUND : COVE_E_SYSTEM,
				       errno, "%.200s", from_stdin ? "standard input" : name);
	if (from_stdin && isatty(s->fd))
		return error_set(err, COVE_E_INVALID,
				 "standard input is a terminal; an archive is expected");

	locale_t old = enter_c_locale(s);
	bool folder = S_ISDIR(s->stat.st_mode) && !from_stdin;
	int r = folder ? open_folder(s, name, err) : open_archive(s, err);
	leave_c_locale(old);
	if (r < 0)
		return r;
	s->can_restart = !from_stdin && (folder || S_ISREG(s->stat.st_mode));
	*ret = TAKE_PTR(s);
	return 0;
}

struct source *source_free(struct source *s)
{
	if (!s)
		return NULL;
	if (s->archive)
		archive_read_free(s->archive);
	if (s->links)
		archive_entry_linkresolver_free(s->links);
	archive_entry_free(s->entry);
	if (s->fd >= 0)
		close(s->fd);
	if (s->locale)
		freelocale(s->locale);
	free(s->folder);
	free(s->buffer);
	free(s);
	return NULL;
}

uint64_t source_size(const struct source *s)
{
	return s->size;
}

bool source_can_restart(const struct source *s)
{
	return s->can_restart;
}

uint64_t source_bytes_read(const struct source *s)
{
	return s->bytes_read;
}

/* Folders that are not gone into: other filesystems (/proc, say) and the image in the making. */
static void descend(struct source *s, struct archive_entry *entry, const char *path)
{
	const struct stat *skip = &s->options.skip;
	dev_t device = archive_entry_dev(entry);
	ino_t inode = (ino_t)archive_entry_ino64(entry);

	if (archive_entry_filetype(entry) != AE_IFDIR)
		return;
	if (device != s->stat.st_dev)
		note(s, path, "is on another filesystem: what is in it is left out");
	else if (skip->st_ino && inode == skip->st_ino && device == skip->st_dev)
		note(s, path, "is this image in the making: what is in it is left out");
	else
		archive_read_disk_descend(s->archive);
}

/* A folder's names begin with the folder's. */
static const char *inside(const struct source *s, const char *path)
{
	size_t n = strlen(s->folder);
	return !strncmp(path, s->folder, n) ? path + n : path;
}

static int check_header(struct source *s, int r, struct archive_entry *entry,
			struct cove_error *err)
{
	const char *path = archive_entry_pathname(entry);
	if (r < ARCHIVE_WARN)
		return archive_failed(s, s->folder ? "the folder" : "the archive", err);
	if (!path)
		return error_set(err, COVE_E_IMAGE, "an entry of the archive has no name");
	/* That a name is not ASCII is no news: see enter_c_locale(). */
	const char *text = archive_error_string(s->archive);
	if (r == ARCHIVE_WARN && text && !strstr(text, "can't be converted"))
		note(s, path, text);
	return 0;
}

int source_next(struct source *s, struct archive_entry **ret, const char **ret_path,
		const char **ret_link, struct cove_error *err)
{
	struct archive_entry *entry = s->entry;
	if (wait_readable(s, -1) < 0)
		return error_set(err, COVE_E_STATE, "interrupted");

	locale_t old = enter_c_locale(s);
	int r = s->folder ? archive_read_next_header2(s->archive, entry)
			  : archive_read_next_header(s->archive, &entry);
	if (r == ARCHIVE_EOF) {
		leave_c_locale(old);
		return 0;
	}
	int error = check_header(s, r, entry, err);
	if (error >= 0) {
		*ret_path = archive_entry_pathname(entry);
		if (s->folder) {
			struct archive_entry *spare = NULL;
			descend(s, entry, inside(s, *ret_path));
			archive_entry_linkify(s->links, &entry, &spare);
			*ret_path = inside(s, archive_entry_pathname(entry));
		}
		*ret_link = archive_entry_hardlink(entry);
		if (s->folder && *ret_link)
			*ret_link = inside(s, *ret_link);
	}
	leave_c_locale(old);
	if (error < 0)
		return error;
	*ret = entry;
	return 1;
}

int source_data(struct source *s, const void **ret, size_t *ret_size, uint64_t *ret_offset,
		struct cove_error *err)
{
	la_int64_t offset;
	if (s->folder && wait_readable(s, -1) < 0)
		return error_set(err, COVE_E_STATE, "interrupted");

	locale_t old = enter_c_locale(s);
	int r = archive_read_data_block(s->archive, ret, ret_size, &offset);
	leave_c_locale(old);
	if (r == ARCHIVE_EOF)
		return 0;
	if (r < ARCHIVE_WARN)
		return archive_failed(s, "its contents", err);
	if (offset < 0)
		return error_set(err, COVE_E_IMAGE, "its contents are out of order");
	*ret_offset = (uint64_t)offset;
	return 1;
}
