/* SPDX-License-Identifier: Apache-2.0 */
#include "base/list.h"

#include "harness/tap.h"

struct item {
	int number;
	struct list entry;
};

static int sum(struct list *head)
{
	int n = 0;
	LIST_FOREACH (i, head)
		n = n * 10 + LIST_ENTRY(i, struct item, entry)->number;
	return n;
}

static void test_order(void)
{
	struct list head = LIST_INIT(head);
	struct item a = { .number = 1 }, b = { .number = 2 }, c = { .number = 3 };
	CHECK(list_empty(&head));
	CHECK_INT(sum(&head), ==, 0);
	list_append(&head, &a.entry);
	list_append(&head, &b.entry);
	list_append(&head, &c.entry);
	CHECK_INT(sum(&head), ==, 123);
	list_remove(&b.entry);
	list_remove(&b.entry); /* on no list: nothing happens */
	CHECK_INT(sum(&head), ==, 13);
	list_append(&head, &b.entry);
	CHECK_INT(sum(&head), ==, 132);
}

static void test_remove_while_walking(void)
{
	struct list head;
	list_init(&head);
	struct item items[4];
	for (int i = 0; i < 4; i++) {
		items[i].number = i + 1;
		list_append(&head, &items[i].entry);
	}
	LIST_FOREACH_SAFE (i, &head)
		if (LIST_ENTRY(i, struct item, entry)->number % 2)
			list_remove(i);
	CHECK_INT(sum(&head), ==, 24);
	LIST_FOREACH_SAFE (i, &head)
		list_remove(i);
	CHECK(list_empty(&head));
}

static const struct tap_test tests[] = {
	{ "order", test_order },
	{ "removing while walking", test_remove_while_walking },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
