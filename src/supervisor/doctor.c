/* SPDX-License-Identifier: Apache-2.0 */
#include "supervisor/doctor.h"

#include <jansson.h>
#include <langinfo.h>
#include <locale.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vmm/doctor.h"

#define EXIT_READY     0
#define EXIT_NOT_READY 1
#define EXIT_USAGE     2

/* ---- for programs ---- */

static int add(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value); /* fails for a NULL value, too */
}

static json_t *json_finding(const struct doctor_finding *f)
{
	json_t *o = json_object();
	int r = add(o, "name", json_string(f->name));
	r |= add(o, "status", json_string(doctor_status_name(f->status)));
	r |= add(o, "found", json_string(f->found));
	r |= add(o, "fix", json_string(f->fix));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static json_t *json_accelerator(const struct vmm_accel_report *accel)
{
	json_t *o = json_object();
	int r = add(o, "name", json_string(vmm_accel_name(accel->accel)));
	r |= add(o, "reason", json_string(accel->reason));
	r |= add(o, "kvm_present", json_boolean(accel->kvm_present));
	r |= add(o, "kvm_opened", json_boolean(accel->kvm_opened));
	r |= add(o, "probe_ns", json_integer((json_int_t)accel->probe_ns));
	if (r == 0)
		return o;
	json_decref(o);
	return NULL;
}

static int print_json(const struct doctor_report *report, bool ready)
{
	json_t *findings = json_array(), *o = json_object();
	int r = 0;
	for (size_t i = 0; i < report->n; i++)
		r |= json_array_append_new(findings, json_finding(&report->findings[i]));
	r |= add(o, "ready", json_boolean(ready));
	r |= add(o, "accelerator", json_accelerator(&report->accel));
	r |= add(o, "findings", findings);
	if (r == 0)
		r = json_dumpf(o, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	json_decref(o);
	if (r == 0)
		putchar('\n');
	return r;
}

/* ---- for people ---- */

struct look {
	const char *mark[3]; /* by enum doctor_status */
	const char *colour[3], *plain;
};

static const struct look *choose_look(struct look *look)
{
	const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
	bool coloured = isatty(STDOUT_FILENO) && !(no_color && *no_color) &&
			!(term && !strcmp(term, "dumb"));
	bool utf8 = setlocale(LC_CTYPE, "") && !strcmp(nl_langinfo(CODESET), "UTF-8");
	*look = (struct look){
		.mark = { utf8 ? "✓" : "+", "!", utf8 ? "✗" : "x" },
		.colour = { "", "", "" },
		.plain = "",
	};
	if (coloured) {
		look->colour[DOCTOR_OK] = "\033[32m";
		look->colour[DOCTOR_WARN] = "\033[33m";
		look->colour[DOCTOR_FAIL] = "\033[31m";
		look->plain = "\033[0m";
	}
	return look;
}

static void print_table(const struct doctor_report *report, bool ready)
{
	struct look l;
	const struct look *look = choose_look(&l);
	int width = 0;
	for (size_t i = 0; i < report->n; i++) {
		int n = (int)strlen(report->findings[i].name);
		width = n > width ? n : width;
	}

	for (size_t i = 0; i < report->n; i++) {
		const struct doctor_finding *f = &report->findings[i];
		printf("%s%s%s  %-*s  %s\n", look->colour[f->status], look->mark[f->status],
		       look->plain, width, f->name, f->found);
		if (*f->fix)
			printf("   %-*s  -> %s\n", width, "", f->fix);
	}
	enum doctor_status verdict = doctor_verdict(report);
	printf("\n%s%s%s\n", look->colour[verdict],
	       !ready			? "Sandboxes cannot run here."
	       : verdict == DOCTOR_WARN ? "Sandboxes can run here, but see the lines marked !."
					: "Sandboxes can run here.",
	       look->plain);
}

int doctor_main(int argc, char **argv)
{
	bool json = argc == 3 && !strcmp(argv[2], "--json");
	if (argc != 2 && !json) {
		fprintf(stderr, "usage: cove-supervisor --doctor [--json]\n");
		return EXIT_USAGE;
	}

	struct doctor_report report;
	doctor_examine(&report);
	bool ready = doctor_verdict(&report) != DOCTOR_FAIL;
	int r = 0;
	if (json)
		r = print_json(&report, ready);
	else
		print_table(&report, ready);
	if (r != 0 || fflush(stdout) != 0) {
		fprintf(stderr, "cove doctor: the report cannot be written\n");
		return EXIT_NOT_READY;
	}
	return ready ? EXIT_READY : EXIT_NOT_READY;
}
