/* SPDX-License-Identifier: Apache-2.0 */

/* What a good CREATE becomes. Bad ones: integration/supervisor/create-test.c. */

#include "supervisor/spec.h"

#include "base/buffer.h"
#include "harness/failing-alloc.h"
#include "harness/tap.h"
#include "supervisor/limits.h"
#include "wire/message.h"

static uint8_t packed[1024];

static size_t pack(const Cove__Wire__Create *m)
{
	CHECK_INT(cove__wire__create__get_packed_size(m), <=, sizeof(packed));
	return cove__wire__create__pack(m, packed);
}

static void test_defaults(void)
{
	Cove__Wire__Create m = COVE__WIRE__CREATE__INIT;
	struct cove_error err;
	struct spec *spec;
	m.name = (char *)"a-name";
	m.image = (char *)"an-image";
	CHECK_COVE(spec_parse(packed, pack(&m), &spec, &err), &err);
	CHECK_STR(spec->name, "a-name");
	CHECK_STR(spec->image, "an-image");
	CHECK_STR(spec->hostname, "a-name");
	CHECK_INT(spec->cpus, ==, 1);
	CHECK_INT(spec->memory_bytes, ==, SPEC_MEMORY_DEFAULT);
	CHECK_INT(spec->boot_timeout_ms, ==, BOOT_TIMEOUT_DEFAULT_MS);
	CHECK(!spec->cwd && !spec->user && !spec->shell);
	CHECK(spec->env && !spec->env[0]);
	CHECK(!spec->read_only && !spec->detached && !spec->persistent);
	spec_free(spec);
}

static Cove__Wire__Create everything(void)
{
	static ProtobufCBinaryData env[2];
	Cove__Wire__Create m = COVE__WIRE__CREATE__INIT;
	env[0] = wire_string("A=1");
	env[1] = wire_string("GONE");
	m.name = (char *)"n";
	m.image = (char *)"i";
	m.has_cpus = true;
	m.cpus = 64;
	m.has_memory_bytes = true;
	m.memory_bytes = SPEC_MEMORY_MIN + 1;
	m.has_cwd = m.has_user = m.has_shell = true;
	m.cwd = wire_string("/cwd");
	m.user = wire_string("user:group");
	m.shell = wire_string("/bin/zsh");
	m.n_env = ARRAY_SIZE(env);
	m.env = env;
	m.hostname = (char *)"Host.name-1";
	m.has_read_only = m.read_only = true;
	m.has_detached = m.detached = true;
	m.has_persistent = m.persistent = true;
	m.has_boot_timeout_ms = true;
	m.boot_timeout_ms = 1;
	return m;
}

static void test_everything(void)
{
	Cove__Wire__Create m = everything();
	struct cove_error err;
	struct spec *spec;
	CHECK_COVE(spec_parse(packed, pack(&m), &spec, &err), &err);
	CHECK_INT(spec->cpus, ==, 64);
	CHECK_INT(spec->memory_bytes, ==, SPEC_MEMORY_MIN + (1 << 20)); /* whole MiB */
	CHECK_STR(spec->cwd, "/cwd");
	CHECK_STR(spec->user, "user:group");
	CHECK_STR(spec->shell, "/bin/zsh");
	CHECK_STR(spec->env[0], "A=1");
	CHECK_STR(spec->env[1], "GONE");
	CHECK(!spec->env[2]);
	CHECK_STR(spec->hostname, "Host.name-1");
	CHECK_INT(spec->boot_timeout_ms, ==, 1);
	CHECK(spec->read_only && spec->detached && spec->persistent);
	spec_free(spec);
	CHECK(!spec_free(NULL));
}

static void test_no_memory(void)
{
	Cove__Wire__Create m = everything();
	size_t size = pack(&m);
	for (unsigned long n = 1;; n++) {
		struct cove_error err = COVE_ERROR_INIT;
		struct spec *spec = NULL;
		failing_alloc_arm(n);
		int r = spec_parse(packed, size, &spec, &err);
		if (!failing_alloc_disarm()) {
			CHECK_COVE(r, &err);
			spec_free(spec);
			break;
		}
		CHECK_INT(r, <, 0);
		CHECK_INT(err.code, ==, r);
		CHECK(!spec);
	}
}

/* A message that was cut off anywhere, or has a bit wrong, is an error or another good message. */
static void test_damage(void)
{
	Cove__Wire__Create m = everything();
	size_t size = pack(&m);
	for (size_t i = 0; i < size * 8; i++) {
		struct cove_error err;
		struct spec *spec;
		packed[i / 8] ^= (uint8_t)(1 << i % 8);
		if (spec_parse(packed, size, &spec, &err) >= 0)
			spec_free(spec);
		packed[i / 8] ^= (uint8_t)(1 << i % 8);
		if (spec_parse(packed, i / 8, &spec, &err) >= 0)
			spec_free(spec);
	}
}

static const struct tap_test tests[] = {
	{ "defaults", test_defaults },
	{ "everything", test_everything },
	{ "no memory", test_no_memory },
	{ "damaged messages", test_damage },
};

int main(int argc, char **argv)
{
	return tap_run(argc, argv, tests, ARRAY_SIZE(tests));
}
