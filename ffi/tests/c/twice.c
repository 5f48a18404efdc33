/* twice LIBRARY COPY KUBECONFIG OTHER: the library in two copies in one process, and two clusters by one of them. Each cluster has a
 * Service `orders` that says "the cluster". */
#include "serve.h"

#include <dlfcn.h>

/* What is used of a copy. */
struct library {
    kt_status (*start)(const char *, size_t, kt_session **, kt_error **);
    kt_status (*exchange)(const kt_session *, const char *, size_t, kt_exchange **, kt_error **);
    kt_status (*forward)(const kt_session *, const char *, size_t, kt_forward **, kt_error **);
    kt_status (*address)(const kt_forward *, kt_text **, kt_error **);
    kt_status (*close)(const kt_session *, const char *, size_t, kt_error **);
    kt_str (*get)(const kt_text *);
    kt_str (*report)(const kt_error *);
};

/* A function by its name, as POSIX has it done. */
static void find(void *library, const char *name, void *place, size_t size) {
    void *found = dlsym(library, name);
    CHECK(found != NULL && size == sizeof found);
    memcpy(place, &found, size);
}
#define FIND(member, name) find(opened, name, &library->member, sizeof library->member)

static void *load(const char *file, struct library *library) {
    void *opened = dlopen(file, RTLD_NOW | RTLD_LOCAL);
    if (opened == NULL) fprintf(stderr, "%s\n", dlerror());
    CHECK(opened != NULL);
    FIND(start, "kt_session_start");
    FIND(exchange, "kt_session_exchange");
    FIND(forward, "kt_session_forward");
    FIND(address, "kt_forward_address");
    FIND(close, "kt_session_close");
    FIND(get, "kt_text_get");
    FIND(report, "kt_error_report");
    return opened;
}

static void well(const struct library *by, kt_status status, kt_error *error, int line) {
    if (status == KT_OK) return;
    fprintf(stderr, "line %d: %s\n", line, by->report(error).ptr);
    exit(1);
}
#define WELL(call)                                                                          \
    do {                                                                                    \
        const kt_status status_ = (call);                                                   \
        well(by, status_, error, __LINE__);                                                 \
    } while (0)

static kt_session *start(const struct library *by, const char *kubeconfig) {
    char options[4096];
    kt_session *session = NULL;
    kt_error *error = NULL;
    snprintf(options, sizeof options, "{\"kubeconfig\": \"%s\", \"linger\": 0, \"start_deadline\": 60}", kubeconfig);
    WELL(by->start(options, strlen(options), &session, &error));
    return session;
}

static void exchange(const struct library *by, kt_session *session, const struct server *server) {
    char call[128];
    kt_exchange *made = NULL;
    kt_error *error = NULL;
    snprintf(call, sizeof call, "{\"target\": \"orders\", \"to\": %u}", server->port);
    WELL(by->exchange(session, call, strlen(call), &made, &error));
}

/* The address of a forward to `orders`; it lives as long as its session. */
static const char *forward(const struct library *by, kt_session *session) {
    const char *call = "{\"destination\": \"orders:8080\"}";
    kt_forward *made = NULL;
    kt_text *address = NULL;
    kt_error *error = NULL;
    WELL(by->forward(session, call, strlen(call), &made, &error));
    WELL(by->address(made, &address, &error));
    return by->get(address).ptr;
}

static void end(const struct library *by, kt_session *session) {
    const char *call = "{\"deadline\": 60}";
    kt_error *error = NULL;
    WELL(by->close(session, call, strlen(call), &error));
}

int main(int argc, char **argv) {
    struct library first, second;
    struct server here, there;
    kt_session *here_by_first, *there_by_first, *there_by_second;
    const char *to_here, *to_there;
    CHECK(argc == 5);
    CHECK(load(argv[1], &first) != load(argv[2], &second) && first.start != second.start);
    start_server(&here, "of the first");
    start_server(&there, "of the second");
    here_by_first = start(&first, argv[3]);
    there_by_first = start(&first, argv[4]);
    there_by_second = start(&second, argv[4]);
    to_here = forward(&first, here_by_first);
    to_there = forward(&first, there_by_first);
    CHECK(answers(to_here, "the cluster") && answers(to_there, "the cluster"));

    /* Each cluster has its own, whichever copy holds it. */
    exchange(&first, here_by_first, &here);
    CHECK(answers(to_here, "of the first") && answers(to_there, "the cluster"));
    exchange(&second, there_by_second, &there);
    CHECK(answers(to_here, "of the first") && answers(to_there, "of the second"));

    /* The end of one is none of the other's. */
    end(&second, there_by_second);
    until_answers(to_there, "the cluster");
    CHECK(answers(to_here, "of the first"));
    end(&first, here_by_first);
    CHECK(answers(to_there, "the cluster"));
    end(&first, there_by_first);
    stop_server(&here);
    stop_server(&there);
    puts("twice: ok");
    return 0;
}
