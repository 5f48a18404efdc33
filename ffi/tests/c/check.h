/* What the tests share. */
#ifndef CHECK_H
#define CHECK_H

#include <kubetether.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CHECK(condition)                                                                    \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition);         \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

/* Says what failed. */
static inline void must(kt_status status, kt_error *error, const char *what, int line) {
    if (status != KT_OK) {
        fprintf(stderr, "line %d: %s: %s: %s\n", line, what, kt_status_name(status).ptr, kt_error_report(error).ptr);
        exit(1);
    }
}

/* A call with a variable `error` at hand, which has to succeed. */
#define OK(call) must((call), error, #call, __LINE__)

/* A place for an output. */
static inline void **place(void) {
    static void *out;
    return &out;
}
#define OUT(type) ((type **)(void *)place())
/* One that cannot be. */
#define ODD(type) ((type **)(void *)((char *)place() + 1))

/* Refused with a variable `error` at hand, which says why, and no output. */
#define REFUSED(call)                                                                       \
    do {                                                                                    \
        kt_error *error = NULL;                                                             \
        *place() = (void *)place();                                                         \
        CHECK((call) == KT_ARGUMENT);                                                       \
        CHECK(error != NULL && kt_error_status(error) == KT_ARGUMENT);                      \
        CHECK(kt_error_message(error).len > 0 && *place() == (void *)place());              \
        CHECK(kt_error_free(error) == KT_OK);                                               \
    } while (0)

/* A function of which all arguments are right but the place for its output. */
#define NO_PLACE(type, function, ...)                                                       \
    do {                                                                                    \
        REFUSED(function(__VA_ARGS__, (type **)NULL, &error));                              \
        REFUSED(function(__VA_ARGS__, ODD(type), &error));                                  \
    } while (0)

/* Takes a text's content away; freed by the caller. */
static inline char *own(kt_text *text) {
    kt_str view = kt_text_get(text);
    char *copy = (char *)malloc(view.len + 1);
    CHECK(copy != NULL && view.ptr[view.len] == 0 && strlen(view.ptr) == view.len);
    memcpy(copy, view.ptr, view.len + 1);
    CHECK(kt_text_free(text) == KT_OK);
    return copy;
}

/* Seconds. */
static inline double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

#endif
