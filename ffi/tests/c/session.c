/* All of a session on a cluster: KUBECONFIG, with a Service `orders` that says "the cluster". */
#include "serve.h"

#include <sys/wait.h>

static const char *const CLOSE = "{\"deadline\": 60}";

static kt_session *start(void) {
    const char *options = "{\"linger\": 0, \"who\": \"c@test\", \"start_deadline\": 60}";
    kt_session *session = NULL;
    kt_error *error = NULL;
    OK(kt_session_start(options, strlen(options), &session, &error));
    return session;
}

static kt_exchange *exchange_to(kt_session *session, unsigned port, const char *more) {
    char call[256];
    kt_exchange *exchange = NULL;
    kt_error *error = NULL;
    snprintf(call, sizeof call, "{\"target\": \"orders\", \"to\": %u%s}", port, more);
    OK(kt_session_exchange(session, call, strlen(call), &exchange, &error));
    return exchange;
}

/* A text that a function gives has this in it. */
#define TELLS(function, handle, part)                                                       \
    do {                                                                                    \
        kt_text *text_ = NULL;                                                              \
        char *told_;                                                                        \
        OK(function(handle, &text_, &error));                                               \
        told_ = own(text_);                                                                 \
        if (strstr(told_, part) == NULL) fprintf(stderr, "%s\n", told_);                    \
        CHECK(strstr(told_, part) != NULL);                                                 \
        free(told_);                                                                        \
    } while (0)

/* The number behind `key` in JSON; 0 where it is not. */
static unsigned long long number(const char *json, const char *key) {
    const char *at = strstr(json, key);
    return at == NULL ? 0 : strtoull(at + strlen(key), NULL, 10);
}

/* The flow through the forward and that through the exchange behind it have ended, or will have soon: each is told of once. */
static void flows_of_both(kt_session *session) {
    int forwards = 0, exchanges = 0;
    unsigned long long after = 0;
    kt_text *text = NULL;
    kt_error *error = NULL;
    char *told;
    /* A minute. */
    for (int tries = 0; forwards + exchanges < 3 && tries < 6000; tries++) {
        OK(kt_session_flows(session, after, &text, &error));
        told = own(text);
        for (const char *at = strstr(told, "\"ended\":["); (at = strstr(at, "\"mode\":\"")) != NULL; at += 8) {
            if (strncmp(at, "\"mode\":\"forward\"", 16) == 0) forwards++;
            else exchanges++;
        }
        CHECK(number(told, "\"missed\":") == 0);
        after = number(told, "\"next\":");
        free(told);
        usleep(10000);
    }
    CHECK(forwards == 2 && exchanges == 1 && after == 3);
    OK(kt_session_flows(session, after, &text, &error));
    told = own(text);
    CHECK(strcmp(told, "{\"open\":[],\"ended\":[],\"missed\":0,\"next\":3}") == 0);
    free(told);
    /* What was never given knows all. */
    OK(kt_session_flows(session, UINT64_MAX, &text, &error));
    CHECK(kt_text_free(text) == KT_OK);
}

/* Living handles, and nowhere to put what they would give. `session` exchanges `orders`. */
static void no_places(kt_session *session, kt_exchange *exchange, kt_forward *forward, kt_events *events) {
    const char *in = "{\"target\": \"orders\", \"to\": 1}", *there = "{\"destination\": \"orders:8080\"}";
    kt_text *text = NULL;
    NO_PLACE(kt_text, kt_session_info, session);
    NO_PLACE(kt_text, kt_session_state, session);
    NO_PLACE(kt_text, kt_session_flows, session, 0);
    NO_PLACE(kt_text, kt_session_evidence, session);
    NO_PLACE(kt_events, kt_session_events, session);
    NO_PLACE(kt_exchange, kt_session_exchange, session, in, strlen(in));
    NO_PLACE(kt_forward, kt_session_forward, session, there, strlen(there));
    NO_PLACE(kt_text, kt_session_closed, session, 0);
    NO_PLACE(kt_text, kt_exchange_info, exchange);
    NO_PLACE(kt_text, kt_exchange_state, exchange);
    NO_PLACE(kt_text, kt_exchange_stats, exchange);
    NO_PLACE(kt_text, kt_exchange_safety, exchange);
    NO_PLACE(kt_text, kt_exchange_closed, exchange, 0);
    NO_PLACE(kt_text, kt_forward_address, forward);
    NO_PLACE(kt_text, kt_forward_info, forward);
    NO_PLACE(kt_text, kt_forward_state, forward);
    NO_PLACE(kt_text, kt_forward_stats, forward);
    NO_PLACE(kt_text, kt_forward_closed, forward, 0);
    /* Which takes no event: the snapshot is still the first. */
    NO_PLACE(kt_text, kt_events_next, events, 0);
    CHECK(kt_events_next(events, 0, &text, NULL) == KT_OK && strstr(kt_text_get(text).ptr, "\"snapshot\"") != NULL);
    CHECK(kt_text_free(text) == KT_OK);
    /* A living handle of another type. */
    REFUSED(kt_session_state((kt_session *)(void *)exchange, OUT(kt_text), &error));
    REFUSED(kt_exchange_state((kt_exchange *)(void *)session, OUT(kt_text), &error));
    REFUSED(kt_forward_state((kt_forward *)(void *)events, OUT(kt_text), &error));
    REFUSED(kt_events_next((kt_events *)(void *)forward, 0, OUT(kt_text), &error));
    CHECK(kt_session_free((kt_session *)(void *)exchange) == KT_ARGUMENT);
    CHECK(kt_exchange_free((kt_exchange *)(void *)session) == KT_ARGUMENT);
    CHECK(kt_forward_free((kt_forward *)(void *)events) == KT_ARGUMENT);
    CHECK(kt_events_free((kt_events *)(void *)forward) == KT_ARGUMENT);
}

struct waiter {
    kt_session *session;
    unsigned port;
    kt_exchange *exchange;
};

static void *wait_for_orders(void *given) {
    struct waiter *waiter = (struct waiter *)given;
    waiter->exchange = exchange_to(waiter->session, waiter->port, ", \"wait\": 120");
    return NULL;
}

static void *pull(void *events) {
    kt_text *event = NULL;
    long pulled = 0;
    kt_status status;
    while ((status = kt_events_next((kt_events *)events, 60000, &event, NULL)) == KT_OK) {
        CHECK(kt_text_free(event) == KT_OK);
        pulled++;
    }
    CHECK(status == KT_CLOSED);
    return (void *)pulled;
}

int main(void) {
    struct server mine, theirs;
    struct waiter waiter;
    pthread_t waiting, pullers[2];
    kt_error *error = NULL;
    kt_session *session = start(), *second = start();
    kt_events *events = NULL, *shared = NULL, *slow = NULL, *others = NULL, *fresh = NULL;
    kt_forward *forward = NULL;
    kt_exchange *exchange;
    kt_text *text = NULL;
    char *address, *told;
    const char *call = "{\"destination\": \"orders:8080\"}";
    void *pulled[2];
    char wanted[128];
    int found = 0, status = 0;
    pid_t child;

    start_server(&mine, "this machine");
    start_server(&theirs, "the other one");
    OK(kt_session_events(session, &events, &error));
    OK(kt_session_events(session, &shared, &error));
    OK(kt_session_events(session, &slow, &error));
    OK(kt_events_next(events, 60000, &text, &error));
    told = own(text);
    CHECK(strstr(told, "{\"type\":\"snapshot\",\"state\":\"ready\"") == told);
    free(told);
    CHECK(kt_events_next(events, 10, &text, &error) == KT_DEADLINE && error == NULL);
    for (int i = 0; i < 2; i++) CHECK(pthread_create(&pullers[i], NULL, pull, shared) == 0);
    TELLS(kt_session_info, session, "\"namespace\":\"default\"");
    TELLS(kt_session_state, session, "{\"state\":\"ready\"}");

    /* Out. */
    OK(kt_session_forward(session, call, strlen(call), &forward, &error));
    OK(kt_forward_address(forward, &text, &error));
    address = own(text);
    CHECK(strncmp(address, "127.0.0.1:", 10) == 0 && answers(address, "the cluster"));
    TELLS(kt_forward_info, forward, "\"destination\":\"orders:8080\"");
    TELLS(kt_forward_state, forward, "{\"state\":\"active\"}");
    TELLS(kt_forward_stats, forward, "\"connections\":1,");
    CHECK(kt_forward_closed(forward, 10, &text, &error) == KT_DEADLINE && error == NULL);

    /* In. */
    exchange = exchange_to(session, mine.port, "");
    CHECK(answers(address, "this machine"));
    TELLS(kt_exchange_info, exchange, "\"service\":\"orders\"");
    TELLS(kt_exchange_state, exchange, "{\"state\":\"active\"}");
    TELLS(kt_exchange_stats, exchange, "\"connections\":1,");
    TELLS(kt_exchange_safety, exchange, "\"client\":");
    flows_of_both(session);
    TELLS(kt_session_evidence, session, "[");
    CHECK(kt_exchange_closed(exchange, 10, &text, &error) == KT_DEADLINE && error == NULL);
    OK(kt_session_events(session, &fresh, &error));
    no_places(session, exchange, forward, fresh);
    CHECK(kt_events_free(fresh) == KT_OK);
    OK(kt_cluster_status(NULL, 0, NULL, 0, &text, &error));
    told = own(text);
    CHECK(strstr(told, "\"service\":\"orders\"") != NULL && strstr(told, "\"who\":\"c@test\"") != NULL);
    CHECK(strstr(told, "\"life\":\"lives\"") != NULL);
    free(told);

    /* Somebody else wants it, too: refused, or waiting until it is free. */
    snprintf(wanted, sizeof wanted, "{\"target\": \"orders\", \"to\": %u}", theirs.port);
    CHECK(kt_session_exchange(second, wanted, strlen(wanted), &waiter.exchange, &error) == KT_HELD);
    CHECK(strstr(kt_error_message(error).ptr, "held by c@test") != NULL && kt_error_hint(error).len > 0);
    CHECK(strcmp(kt_error_object(error).ptr, "services/orders") == 0 && kt_error_free(error) == KT_OK);
    error = NULL;
    waiter.session = second;
    waiter.port = theirs.port;
    OK(kt_session_events(second, &others, &error));
    CHECK(pthread_create(&waiting, NULL, wait_for_orders, &waiter) == 0);
    do {
        OK(kt_events_next(others, 60000, &text, &error));
        told = own(text);
        found = strstr(told, "is held by") != NULL;
        free(told);
    } while (!found);
    OK(kt_exchange_close(exchange, CLOSE, strlen(CLOSE), &error));
    TELLS(kt_exchange_state, exchange, "{\"state\":\"closed\"}");
    CHECK(kt_exchange_free(exchange) == KT_OK && kt_exchange_free(exchange) == KT_ARGUMENT);
    CHECK(pthread_join(waiting, NULL) == 0);
    until_answers(address, "the other one");

    /* Put back in spite of its holder, whose exchange ends as lost. */
    call = "{\"service\": \"orders\"}";
    OK(kt_cluster_recover(NULL, 0, call, strlen(call), &text, &error));
    told = own(text);
    CHECK(strstr(told, "\"changed\":true") != NULL && strstr(told, "c@test") != NULL);
    free(told);
    OK(kt_exchange_closed(waiter.exchange, 60000, &text, &error));
    told = own(text);
    CHECK(strstr(told, "\"state\":\"lost\"") != NULL);
    free(told);
    until_answers(address, "the cluster");
    CHECK(kt_exchange_free(waiter.exchange) == KT_OK);

    /* What nobody pulls is dropped and counted. */
    call = "{\"destination\": \"orders:8080\"}";
    for (int i = 0; i < 100; i++) {
        kt_forward *one = NULL;
        OK(kt_session_forward(session, call, strlen(call), &one, &error));
        OK(kt_forward_close(one, NULL, 0, &error));
        CHECK(kt_forward_free(one) == KT_OK);
    }
    CHECK(kt_events_dropped(slow) > 0);
    OK(kt_events_next(slow, 60000, &text, &error));
    told = own(text);
    CHECK(strstr(told, "\"type\":\"snapshot\"") != NULL);
    free(told);
    OK(kt_events_next(slow, 60000, &text, &error));
    told = own(text);
    CHECK(strstr(told, "\"type\":\"dropped\"") != NULL && kt_events_dropped(slow) > 0);
    free(told);

    /* A process that was forked cannot use what it inherited, and harms nobody. */
    child = fork();
    if (child == 0) {
        kt_session *another = NULL;
        CHECK(kt_session_start(NULL, 0, &another, NULL) == KT_FORKED);
        CHECK(kt_session_close(session, NULL, 0, NULL) == KT_FORKED);
        CHECK(kt_session_free(session) == KT_OK);
        _exit(0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(answers(address, "the cluster"));

    /* The end: by one thread, while others use it. */
    OK(kt_session_close(session, CLOSE, strlen(CLOSE), &error));
    OK(kt_session_close(session, NULL, 0, &error));
    for (int i = 0; i < 2; i++) CHECK(pthread_join(pullers[i], &pulled[i]) == 0);
    CHECK((long)pulled[0] + (long)pulled[1] > 300);
    OK(kt_session_closed(session, 60000, &text, &error));
    free(own(text));
    TELLS(kt_session_state, session, "\"state\":\"closed\"");
    CHECK(kt_session_forward(session, call, strlen(call), &forward, &error) == KT_CLOSED);
    CHECK(kt_error_status(error) == KT_CLOSED && kt_error_free(error) == KT_OK);
    error = NULL;
    TELLS(kt_forward_state, forward, "{\"state\":\"closed\"}");
    CHECK(kt_forward_free(forward) == KT_OK && kt_session_free(session) == KT_OK);
    CHECK(kt_events_free(shared) == KT_OK && kt_events_free(slow) == KT_OK && kt_events_free(events) == KT_OK);
    OK(kt_session_close(second, CLOSE, strlen(CLOSE), &error));
    CHECK(kt_session_free(second) == KT_OK && kt_events_free(others) == KT_OK);
    call = "{\"dry_run\": true, \"deadline\": 60}";
    OK(kt_cluster_clean(NULL, 0, call, strlen(call), &text, &error));
    told = own(text);
    CHECK(strstr(told, "{\"restored\":[],\"deleted\":[") == told);
    free(told);
    stop_server(&mine);
    stop_server(&theirs);
    free(address);
    puts("session: ok");
    return 0;
}
