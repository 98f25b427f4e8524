/* SPDX-License-Identifier: Apache-2.0 */
#ifndef COVE_ERROR_H
#define COVE_ERROR_H

/*
 * Errors
 *
 * Every cove call that can fail returns 0 (or a count) on success and one of the negative
 * COVE_E_* codes below on failure. Where a call takes a `struct cove_error *err`, it may be NULL;
 * otherwise it is filled on failure and left alone on success. It is the caller's memory, has a
 * fixed size and owns nothing, so it can be copied and thrown away freely.
 *
 * The same structure carries an error all the way from a failed system call in the guest to the
 * caller, so `origin` says who saw it and `os_errno` is that machine's errno (Linux numbers).
 */

#ifdef __cplusplus
extern "C" {
#endif

/*
 * X(NAME, number, text): the numbers are part of the ABI and of the wire protocol and are never
 * reused. All lie below -1000, so that none can be taken for a negative errno.
 */
#define COVE_ERROR_LIST(X)                                                                         \
	X(INVALID, -1001, "invalid argument")                                                      \
	X(NO_MEMORY, -1002, "out of memory")                                                       \
	X(SYSTEM, -1003, "a system call failed")                                                   \
	X(EXISTS, -1004, "the name is taken")                                                      \
	X(NOT_FOUND, -1005, "no such thing")                                                       \
	X(START, -1006, "the command could not be started")                                        \
	X(TIMEOUT, -1007, "the time limit was reached")                                            \
	X(LOST, -1008, "the sandbox or the link to it is gone; the status is unknown")             \
	X(PROTOCOL, -1009, "the peer broke the protocol")                                          \
	X(LIMIT, -1010, "a limit was reached")                                                     \
	X(STATE, -1011, "not possible in this state")                                              \
	X(BOOT, -1012, "the sandbox did not start")                                                \
	X(ENCODING, -1013, "not valid UTF-8")                                                      \
	X(UNSUPPORTED, -1014, "not supported here")                                                \
	X(DENIED, -1015, "permission denied")                                                      \
	X(MISSING, -1016, "a part that Cove needs is not installed")                               \
	X(IMAGE, -1017, "the image cannot be used")                                                \
	X(AGAIN, -1018, "nothing to do right now")                                                 \
	X(GONE, -1019, "it was there and is not kept any more")

enum cove_error_code {
#define COVE_ERROR_ENUM(name, number, text) COVE_E_##name = (number),
	COVE_ERROR_LIST(COVE_ERROR_ENUM)
#undef COVE_ERROR_ENUM
};

/* Which part saw the error. */
enum cove_origin {
	COVE_ORIGIN_HOST = 0,	    /* the calling process */
	COVE_ORIGIN_SUPERVISOR = 1, /* the sandbox's supervisor, on the host */
	COVE_ORIGIN_GUEST = 2,	    /* the agent, inside the sandbox */
};

/* With COVE_E_START: the step of starting a command that failed. COVE_STAGE_NONE otherwise. */
enum cove_stage {
	COVE_STAGE_NONE = 0,
	COVE_STAGE_REQUEST = 1, /* the request itself: empty argv, too long, too many sessions */
	COVE_STAGE_CWD = 2,	/* entering the working directory */
	COVE_STAGE_USER = 3,	/* looking up or becoming the user */
	COVE_STAGE_GROUP = 4,	/* looking up or setting the groups */
	COVE_STAGE_RLIMIT = 5,	/* setting a resource limit */
	COVE_STAGE_TTY = 6,	/* making the terminal */
	COVE_STAGE_STDIO = 7,	/* making the pipes */
	COVE_STAGE_EXEC = 8,	/* executing the file: os_errno is execve's */
};

#define COVE_ERROR_MESSAGE_MAX 512

struct cove_error {
	int code;			      /* COVE_E_* */
	int os_errno;			      /* an errno, or 0 where there is none */
	int stage;			      /* enum cove_stage */
	int origin;			      /* enum cove_origin */
	char message[COVE_ERROR_MESSAGE_MAX]; /* one line, NUL-terminated, no newline */
};

#define COVE_ERROR_INIT                                                                            \
	{                                                                                          \
		0, 0, 0, 0,                                                                        \
		{                                                                                  \
			0                                                                          \
		}                                                                                  \
	}

#ifdef __cplusplus
}
#endif

#endif
