/* Calls that wait, ended from another thread. KUBECONFIG as in session.c. */
#include "check.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* A port that takes connections and never says a word. */
struct silence {
    int fd;
    unsigned port;
};

static struct silence listen_silently(void) {
    struct silence silence;
    struct sockaddr_in here;
    socklen_t size = sizeof here;
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    silence.fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(silence.fd >= 0 && bind(silence.fd, (struct sockaddr *)&here, size) == 0 && listen(silence.fd, 64) == 0);
    CHECK(getsockname(silence.fd, (struct sockaddr *)&here, &size) == 0);
    silence.port = ntohs(here.sin_port);
    return silence;
}

static const char *const PATIENT =
    "{\"linger\": 0, \"start_deadline\": 300, \"heartbeat\": 20, \"heartbeat_limit\": 200, \"who\": \"c@cancel\"}";

/* What a thread of its own asks for, and what it was told. */
struct asked {
    kt_cancel *cancel;
    kt_session *session;
    kt_events *events;
    char call[512];
    kt_status status;
};

/* An error came with the status, and is let go of. */
static void told(kt_status status, kt_error *error) {
    CHECK((status == KT_OK) == (error == NULL));
    CHECK(kt_error_status(error) == status && kt_error_free(error) == KT_OK);
}

static void *start(void *given) {
    struct asked *asked = (struct asked *)given;
    kt_session *session = NULL;
    kt_error *error = NULL;
    OK(kt_cancel_use(asked->cancel, &error));
    asked->status = kt_session_start(asked->call, strlen(asked->call), &session, &error);
    told(asked->status, error);
    CHECK(session == NULL);
    return NULL;
}

static void *exchange(void *given) {
    struct asked *asked = (struct asked *)given;
    kt_exchange *exchange = NULL;
    kt_error *error = NULL;
    OK(kt_cancel_use(asked->cancel, &error));
    asked->status = kt_session_exchange(asked->session, asked->call, strlen(asked->call), &exchange, &error);
    told(asked->status, error);
    CHECK(exchange == NULL);
    return NULL;
}

static void *pull(void *given) {
    struct asked *asked = (struct asked *)given;
    kt_text *event = NULL;
    kt_error *error = NULL;
    kt_status status;
    OK(kt_cancel_use(asked->cancel, &error));
    while ((status = kt_events_next(asked->events, UINT32_MAX, &event, &error)) == KT_OK) CHECK(kt_text_free(event) == KT_OK);
    told(status, error);
    asked->status = status;
    return NULL;
}

/* Pulls until an event has this in it. */
static void until_told(kt_events *events, const char *part) {
    int found = 0;
    while (!found) {
        kt_text *text = NULL;
        kt_error *error = NULL;
        char *event;
        OK(kt_events_next(events, UINT32_MAX, &text, &error));
        event = own(text);
        found = strstr(event, part) != NULL;
        free(event);
    }
}

/* A cluster that never answers. */
static void a_start(void) {
    struct silence silence = listen_silently();
    struct asked asked = {NULL, NULL, NULL, "", KT_OK};
    char name[] = "/tmp/kubetether-cancel-XXXXXX";
    pthread_t thread;
    kt_error *error = NULL;
    int fd = mkstemp(name), client;
    FILE *file = fd < 0 ? NULL : fdopen(fd, "w");
    CHECK(file != NULL);
    fprintf(file,
            "{\"apiVersion\": \"v1\", \"kind\": \"Config\", \"current-context\": \"x\","
            " \"contexts\": [{\"name\": \"x\", \"context\": {\"cluster\": \"c\", \"user\": \"u\"}}],"
            " \"users\": [{\"name\": \"u\", \"user\": {}}],"
            " \"clusters\": [{\"name\": \"c\", \"cluster\": {\"server\": \"https://127.0.0.1:%u\"}}]}",
            silence.port);
    CHECK(fclose(file) == 0);
    snprintf(asked.call, sizeof asked.call, "{\"kubeconfig\": \"%s\", \"start_deadline\": 300}", name);
    OK(kt_cancel_new(&asked.cancel, &error));
    CHECK(pthread_create(&thread, NULL, start, &asked) == 0);
    /* It has begun. */
    client = accept(silence.fd, NULL, NULL);
    CHECK(client >= 0 && kt_cancel_now(asked.cancel) == KT_OK && pthread_join(thread, NULL) == 0);
    CHECK(asked.status == KT_CANCELLED);
    /* It stays said. */
    CHECK(pthread_create(&thread, NULL, start, &asked) == 0 && pthread_join(thread, NULL) == 0);
    CHECK(asked.status == KT_CANCELLED);
    CHECK(kt_cancel_free(asked.cancel) == KT_OK && kt_cancel_free(asked.cancel) == KT_ARGUMENT);
    CHECK(kt_cancel_now(asked.cancel) == KT_ARGUMENT && kt_cancel_use(asked.cancel, NULL) == KT_ARGUMENT);
    close(client);
    close(silence.fd);
    remove(name);
}

int main(void) {
    struct silence silence = listen_silently();
    struct asked held = {NULL, NULL, NULL, "", KT_OK}, pulled = {NULL, NULL, NULL, "", KT_OK};
    pthread_t thread;
    kt_session *first = NULL, *second = NULL;
    kt_exchange *holder = NULL;
    kt_events *events = NULL;
    kt_text *text = NULL;
    kt_error *error = NULL;
    char *state;

    a_start();

    OK(kt_session_start(PATIENT, strlen(PATIENT), &first, &error));
    OK(kt_session_start(PATIENT, strlen(PATIENT), &second, &error));
    snprintf(held.call, sizeof held.call, "{\"target\": \"orders\", \"to\": %u, \"wait\": 300, \"deadline\": 300}", silence.port);
    OK(kt_session_exchange(first, held.call, strlen(held.call), &holder, &error));

    /* One that waits for a Service: its holder keeps it. */
    OK(kt_session_events(second, &events, &error));
    held.session = second;
    OK(kt_cancel_new(&held.cancel, &error));
    CHECK(pthread_create(&thread, NULL, exchange, &held) == 0);
    until_told(events, "is held by");
    CHECK(kt_cancel_now(held.cancel) == KT_OK && kt_cancel_now(held.cancel) == KT_OK && pthread_join(thread, NULL) == 0);
    CHECK(held.status == KT_CANCELLED);
    OK(kt_exchange_state(holder, &text, &error));
    state = own(text);
    CHECK(strstr(state, "\"active\"") != NULL);
    free(state);
    CHECK(kt_cancel_free(held.cancel) == KT_OK);

    /* One that waits for events. */
    OK(kt_session_events(second, &pulled.events, &error));
    OK(kt_cancel_new(&pulled.cancel, &error));
    CHECK(pthread_create(&thread, NULL, pull, &pulled) == 0);
    CHECK(kt_cancel_now(pulled.cancel) == KT_OK && pthread_join(thread, NULL) == 0);
    CHECK(pulled.status == KT_CANCELLED);
    CHECK(kt_cancel_free(pulled.cancel) == KT_OK);

    /* Without any such thing: who closes the session ends what is started in it. */
    held.cancel = NULL;
    CHECK(pthread_create(&thread, NULL, exchange, &held) == 0);
    until_told(events, "is held by");
    OK(kt_session_close(second, NULL, 0, &error));
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(held.status == KT_CLOSED);

    OK(kt_session_close(first, NULL, 0, &error));
    CHECK(kt_events_free(events) == KT_OK && kt_events_free(pulled.events) == KT_OK && kt_exchange_free(holder) == KT_OK);
    CHECK(kt_session_free(first) == KT_OK && kt_session_free(second) == KT_OK);
    close(silence.fd);
    puts("cancel: ok");
    return 0;
}
