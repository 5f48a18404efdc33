/* NULL and garbage in every argument, double frees, versions, the log. Needs no cluster. */
#include "check.h"

#include <pthread.h>
#include <stdint.h>

static const uintptr_t GARBAGE[] = {1, 8, 0xdeadbeef, UINTPTR_MAX, UINTPTR_MAX - 15, (uintptr_t)0x6b74 << 48, ((uintptr_t)0x6b74 << 48) | 0xffffff0};
enum { GARBAGES = sizeof GARBAGE / sizeof *GARBAGE };

/* Every way to be no handle: NULL, garbage, freed, alive but of another type. Those that live are an error and a cancel: `own` is
 * the one of the type itself, if there is one. */
#define FOR_EACH_BAD(type, name, own)                                                       \
    for (size_t bad_ = 0; bad_ < GARBAGES + 3; bad_++)                                      \
        for (type *name = (type *)bad_handle(bad_, own), *once_ = (type *)1; once_; once_ = NULL)

static kt_error *an_error;
static kt_cancel *a_cancel;
static void *freed;

static void *bad_handle(size_t which, const void *own) {
    if (which < GARBAGES) return (void *)GARBAGE[which];
    if (which == GARBAGES) return NULL;
    if (which == GARBAGES + 1) return freed;
    return own == an_error ? (void *)a_cancel : (void *)an_error;
}

static void handles(void) {
    FOR_EACH_BAD(kt_session, session, NULL) {
        REFUSED(kt_session_info(session, OUT(kt_text), &error));
        REFUSED(kt_session_state(session, OUT(kt_text), &error));
        REFUSED(kt_session_flows(session, 0, OUT(kt_text), &error));
        REFUSED(kt_session_evidence(session, OUT(kt_text), &error));
        REFUSED(kt_session_events(session, OUT(kt_events), &error));
        REFUSED(kt_session_exchange(session, "{}", 2, OUT(kt_exchange), &error));
        REFUSED(kt_session_forward(session, "{}", 2, OUT(kt_forward), &error));
        REFUSED(kt_session_close(session, NULL, 0, &error));
        REFUSED(kt_session_closed(session, 0, OUT(kt_text), &error));
        CHECK(kt_session_free(session) == (session ? KT_ARGUMENT : KT_OK));
    }
    FOR_EACH_BAD(kt_exchange, exchange, NULL) {
        REFUSED(kt_exchange_info(exchange, OUT(kt_text), &error));
        REFUSED(kt_exchange_state(exchange, OUT(kt_text), &error));
        REFUSED(kt_exchange_stats(exchange, OUT(kt_text), &error));
        REFUSED(kt_exchange_safety(exchange, OUT(kt_text), &error));
        REFUSED(kt_exchange_close(exchange, NULL, 0, &error));
        REFUSED(kt_exchange_closed(exchange, 0, OUT(kt_text), &error));
        CHECK(kt_exchange_free(exchange) == (exchange ? KT_ARGUMENT : KT_OK));
    }
    FOR_EACH_BAD(kt_cancel, cancel, a_cancel) {
        CHECK(kt_cancel_now(cancel) == KT_ARGUMENT);
        CHECK(kt_cancel_use(cancel, NULL) == (cancel ? KT_ARGUMENT : KT_OK));
        CHECK(kt_cancel_free(cancel) == (cancel ? KT_ARGUMENT : KT_OK));
    }
    FOR_EACH_BAD(kt_forward, forward, NULL) {
        REFUSED(kt_forward_address(forward, OUT(kt_text), &error));
        REFUSED(kt_forward_info(forward, OUT(kt_text), &error));
        REFUSED(kt_forward_state(forward, OUT(kt_text), &error));
        REFUSED(kt_forward_stats(forward, OUT(kt_text), &error));
        REFUSED(kt_forward_close(forward, NULL, 0, &error));
        REFUSED(kt_forward_closed(forward, 0, OUT(kt_text), &error));
        CHECK(kt_forward_free(forward) == (forward ? KT_ARGUMENT : KT_OK));
    }
    FOR_EACH_BAD(kt_events, events, NULL) {
        REFUSED(kt_events_next(events, 0, OUT(kt_text), &error));
        CHECK(kt_events_dropped(events) == 0);
        CHECK(kt_events_free(events) == (events ? KT_ARGUMENT : KT_OK));
    }
    FOR_EACH_BAD(kt_error, error, an_error) {
        CHECK(kt_error_status(error) == (error ? KT_ARGUMENT : KT_OK));
        CHECK(kt_error_message(error).len == 0 && *kt_error_message(error).ptr == 0);
        CHECK(kt_error_object(error).len == 0 && kt_error_hint(error).len == 0);
        CHECK(kt_error_cause_count(error) == 0 && kt_error_cause(error, SIZE_MAX).len == 0);
        CHECK(kt_error_evidence_count(error) == 0 && kt_error_evidence(error, 0).len == 0);
        CHECK(kt_error_report(error).len == 0 && kt_error_json(error).len == 0);
        CHECK(kt_error_free(error) == (error ? KT_ARGUMENT : KT_OK));
    }
    FOR_EACH_BAD(kt_text, text, NULL) {
        CHECK(kt_text_get(text).len == 0 && kt_text_get(text).ptr != NULL);
        CHECK(kt_text_free(text) == (text ? KT_ARGUMENT : KT_OK));
    }
}

static void arguments(void) {
    const char *json = "{\"kubeconfig\": \"/nowhere\"}";
    const size_t len = strlen(json);
    kt_session *session = NULL;
    kt_text *text = NULL;
    /* No place for the output. */
    NO_PLACE(kt_session, kt_session_start, json, len);
    NO_PLACE(kt_text, kt_cluster_status, json, len, NULL, 0);
    NO_PLACE(kt_text, kt_cluster_clean, json, len, NULL, 0);
    NO_PLACE(kt_text, kt_cluster_recover, json, len, "{\"service\": \"x\"}", 16);
    REFUSED(kt_cancel_new(NULL, &error));
    REFUSED(kt_cancel_new(ODD(kt_cancel), &error));
    /* Texts that are none. */
    REFUSED(kt_session_start(NULL, 5, OUT(kt_session), &error));
    REFUSED(kt_session_start(json, SIZE_MAX, OUT(kt_session), &error));
    REFUSED(kt_session_start("\xff\xfe", 2, OUT(kt_session), &error));
    REFUSED(kt_cluster_status(NULL, 1, NULL, 0, OUT(kt_text), &error));
    REFUSED(kt_cluster_status(NULL, 0, NULL, 1, OUT(kt_text), &error));
    REFUSED(kt_cluster_clean(NULL, 1, NULL, 0, OUT(kt_text), &error));
    REFUSED(kt_cluster_clean(NULL, 0, "\xc3", 1, OUT(kt_text), &error));
    REFUSED(kt_cluster_recover(NULL, 1, NULL, 0, OUT(kt_text), &error));
    REFUSED(kt_cluster_recover(NULL, 0, NULL, 1, OUT(kt_text), &error));
    /* Options that make no sense. The error may not be wanted. */
    CHECK(kt_session_start("[", 1, &session, NULL) == KT_CONFIG && session == NULL);
    CHECK(kt_session_start("{\"nonsense\": 1}", 15, &session, NULL) == KT_CONFIG);
    CHECK(kt_session_start("{\"grace\": -1}", 13, &session, NULL) == KT_CONFIG);
    CHECK(kt_session_start(json, len, &session, NULL) == KT_KUBECONFIG && session == NULL);
    CHECK(kt_cluster_status(json, len, "{\"x\": 1}", 8, &text, NULL) == KT_CONFIG && text == NULL);
    CHECK(kt_cluster_recover(json, len, NULL, 0, &text, NULL) == KT_CONFIG && text == NULL);
}

static void errors(void) {
    const char *json = "{\"kubeconfig\": \"/nowhere/at/all\"}";
    kt_session *session = NULL;
    kt_error *error = NULL;
    CHECK(kt_session_start(json, strlen(json), &session, &error) == KT_KUBECONFIG);
    CHECK(kt_error_status(error) == KT_KUBECONFIG);
    CHECK(strstr(kt_error_message(error).ptr, "/nowhere/at/all") != NULL);
    CHECK(kt_error_cause_count(error) >= 1 && kt_error_cause(error, 0).len > 0);
    CHECK(kt_error_cause(error, kt_error_cause_count(error)).len == 0);
    CHECK(kt_error_evidence_count(error) == 0 && kt_error_evidence(error, 0).len == 0);
    CHECK(strstr(kt_error_report(error).ptr, "because: ") != NULL);
    CHECK(strstr(kt_error_json(error).ptr, "\"code\":\"kubeconfig\"") != NULL);
    freed = error;
    CHECK(kt_error_free(error) == KT_OK);
    CHECK(kt_error_free(error) == KT_ARGUMENT);
    CHECK(kt_error_message(error).len == 0);
}

static void statuses(void) {
    CHECK(strcmp(kt_status_name(KT_OK).ptr, "ok") == 0);
    CHECK(strcmp(kt_status_name(KT_NO_SUCH_TARGET).ptr, "no_such_target") == 0);
    CHECK(kt_status_meaning(KT_HELD).len > 0 && kt_status_meaning(KT_OK).len > 0);
    CHECK(kt_status_name((kt_status)12345).len == 0 && kt_status_meaning((kt_status)12345).len == 0);
    CHECK(strcmp(kt_version().ptr, KT_VERSION) == 0);
    CHECK(kt_version_number() == KT_VERSION_NUMBER);
    CHECK(kt_version_number() == (KT_VERSION_MAJOR * 65536 + KT_VERSION_MINOR * 256 + KT_VERSION_PATCH));
    CHECK(strstr(kt_schema().ptr, "\"SessionOptions\"") != NULL);
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void count(void *userdata, kt_log_level level, kt_str target, kt_str message) {
    CHECK(level >= KT_LOG_ERROR && level <= KT_LOG_TRACE);
    CHECK(strncmp(target.ptr, "kubetether", 10) == 0 && message.ptr[message.len] == 0);
    pthread_mutex_lock(&lock);
    *(int *)userdata += 1;
    pthread_mutex_unlock(&lock);
}

static void logs(void) {
    int lines = 0;
    REFUSED(kt_log_set(KT_LOG_TRACE, NULL, NULL, &error));
    REFUSED(kt_log_set((kt_log_level)0, count, &lines, &error));
    REFUSED(kt_log_set((kt_log_level)6, count, &lines, &error));
    REFUSED(kt_log_set((kt_log_level)UINT32_MAX, count, &lines, &error));
    CHECK(kt_log_set(KT_LOG_TRACE, count, &lines, NULL) == KT_OK);
    CHECK(kt_log_set(KT_LOG_DEBUG, count, &lines, NULL) == KT_OK);
    CHECK(kt_log_clear() == KT_OK && kt_log_clear() == KT_OK);
}

static void *misuse(void *unused) {
    (void)unused;
    for (int i = 0; i < 200; i++) {
        kt_session *session = NULL;
        kt_error *error = NULL;
        CHECK(kt_session_start("[", 1, &session, &error) == KT_CONFIG);
        CHECK(kt_error_message(error).len > 0 && kt_error_free(error) == KT_OK);
        CHECK(kt_error_free(error) == KT_ARGUMENT && kt_error_free((kt_error *)freed) == KT_ARGUMENT);
    }
    return NULL;
}

int main(void) {
    pthread_t threads[8];
    kt_error *error = NULL;
    kt_session *session = NULL;
    errors();
    CHECK(kt_session_start("[", 1, &session, &an_error) == KT_CONFIG);
    OK(kt_cancel_new(&a_cancel, &error));
    handles();
    /* They were refused, not harmed. */
    CHECK(kt_error_status(an_error) == KT_CONFIG && kt_error_message(an_error).len > 0 && kt_error_free(an_error) == KT_OK);
    CHECK(kt_cancel_now(a_cancel) == KT_OK && kt_cancel_free(a_cancel) == KT_OK);
    arguments();
    statuses();
    logs();
    for (int i = 0; i < 8; i++) CHECK(pthread_create(&threads[i], NULL, misuse, NULL) == 0);
    for (int i = 0; i < 8; i++) CHECK(pthread_join(threads[i], NULL) == 0);
    puts("misuse: ok");
    return 0;
}
