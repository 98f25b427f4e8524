/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

/* An intrusive, circular, doubly linked list. An entry not on any list points at itself. */

#include <stdbool.h>

#include "base/macro.h"

struct list {
	struct list *next;
	struct list *prev;
};

#define LIST_INIT(name)                                                                            \
	{                                                                                          \
		&(name), &(name)                                                                   \
	}

static inline void list_init(struct list *l)
{
	l->next = l;
	l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
	return l->next == l;
}

static inline void list_append(struct list *head, struct list *entry)
{
	entry->prev = head->prev;
	entry->next = head;
	head->prev->next = entry;
	head->prev = entry;
}

/* Safe on an entry that is on no list, as long as it was initialised. */
static inline void list_remove(struct list *entry)
{
	entry->prev->next = entry->next;
	entry->next->prev = entry->prev;
	list_init(entry);
}

#define LIST_ENTRY(p, type, member) CONTAINER_OF(p, type, member)

#define LIST_FOREACH(i, head) for (struct list *i = (head)->next; i != (head); i = i->next)

/* The current entry may be removed inside the loop. */
#define LIST_FOREACH_SAFE(i, head)                                                                 \
	for (struct list *i = (head)->next, *i##_next = i->next; i != (head);                      \
	     i = i##_next, i##_next = i->next)

#endif
