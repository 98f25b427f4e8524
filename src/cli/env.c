/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/fd.h"
#include "cli/cli.h"

/* More environment than execve() takes is no use; and /dev/zero is a file too. */
#define ENV_FILE_MAX (4u * 1024 * 1024)

int cli_list_append(struct cli_list *list, char *item)
{
	char **grown = item ? reallocarray(list->items, list->n + 2, sizeof(*grown)) : NULL;
	if (!grown) {
		free(item);
		return -ENOMEM;
	}
	grown[list->n++] = item;
	grown[list->n] = NULL;
	list->items = grown;
	return 0;
}

void cli_list_done(struct cli_list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free(list->items[i]);
	free(list->items);
	*list = (struct cli_list){ NULL, 0 };
}

/*
 * As with docker: "K=V" sets, "K" takes the value that it has here. Where it has none here, "K" goes
 * on as it is, which takes away what the image or the sandbox has.
 */
int cli_env_add(struct cli_list *list, const char *text, struct cove_error *err)
{
	_cleanup_free_ char *item = NULL;

	if (!*text || *text == '=')
		return error_set(err, COVE_E_INVALID, "\"%s\" has no name before the \"=\"", text);
	const char *value = strchr(text, '=') ? NULL : getenv(text);
	if (value) {
		if (asprintf(&item, "%s=%s", text, value) < 0)
			item = NULL;
	} else {
		item = strdup(text);
	}
	if (cli_list_append(list, TAKE_PTR(item)) < 0)
		return error_set(err, COVE_E_NO_MEMORY, "out of memory");
	return 0;
}

/* A line of a file: blank ones and those that start with # are passed over, white space before too. */
static int add_line(struct cli_list *list, char *line, struct cove_error *err)
{
	line += strspn(line, " \t");
	size_t size = strlen(line);
	if (size > 0 && line[size - 1] == '\r')
		line[size - 1] = 0;
	if (!*line || *line == '#')
		return 0;
	/*
	 * "export A=1" and "A = 1" would otherwise become variables with strange names. The line is
	 * not shown: such files hold secrets.
	 */
	if (strcspn(line, " \t") < strcspn(line, "="))
		return error_set(err, COVE_E_INVALID, "white space in a variable's name");
	return cli_env_add(list, line, err);
}

int cli_env_add_file(struct cli_list *list, const char *path, struct cove_error *err)
{
	_cleanup_free_ char *text = NULL;
	size_t size;

	int r = fd_read_file(AT_FDCWD, path, ENV_FILE_MAX, true, &text, &size);
	if (r < 0)
		return error_set_errno(err, COVE_E_INVALID, r, "cannot read %s", path);
	if (memchr(text, 0, size))
		return error_set(err, COVE_E_INVALID, "%s holds a NUL byte", path);

	unsigned number = 1;
	for (char *line = text, *next; line; line = next, number++) {
		next = strchr(line, '\n');
		if (next)
			*next++ = 0;
		r = add_line(list, line, err);
		if (r < 0)
			return error_add_context(err, r, "%s:%u", path, number);
	}
	return 0;
}

int cli_list_move(struct cli_list *to, struct cli_list *from)
{
	for (size_t i = 0; i < from->n; i++) {
		int r = cli_list_append(to, TAKE_PTR(from->items[i]));
		if (r < 0)
			return r;
	}
	free(from->items);
	*from = (struct cli_list){ NULL, 0 };
	return 0;
}
