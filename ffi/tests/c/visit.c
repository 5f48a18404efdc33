/* A session that forwards and exchanges once, with the patience that a tool like valgrind needs. KUBECONFIG as in session.c. */
#include "check.h"

int main(void) {
    const char *options = "{\"start_deadline\": 300, \"heartbeat\": 20, \"heartbeat_limit\": 200, \"linger\": 0}";
    const char *in = "{\"target\": \"orders\", \"to\": 1, \"deadline\": 300}";
    const char *call = "{\"destination\": \"orders:8080\"}", *close = "{\"deadline\": 300}";
    kt_session *session = NULL;
    kt_events *events = NULL;
    kt_forward *forward = NULL;
    kt_exchange *exchange = NULL;
    kt_text *text = NULL;
    kt_error *error = NULL;
    OK(kt_session_start(options, strlen(options), &session, &error));
    OK(kt_session_events(session, &events, &error));
    OK(kt_session_forward(session, call, strlen(call), &forward, &error));
    OK(kt_forward_info(forward, &text, &error));
    free(own(text));
    /* Nobody has to listen there. */
    OK(kt_session_exchange(session, in, strlen(in), &exchange, &error));
    OK(kt_exchange_safety(exchange, &text, &error));
    free(own(text));
    OK(kt_exchange_close(exchange, close, strlen(close), &error));
    CHECK(kt_session_exchange(session, in, 1, &exchange, &error) == KT_CONFIG && kt_error_cause_count(error) < 9);
    CHECK(kt_error_free(error) == KT_OK && kt_exchange_free(exchange) == KT_OK);
    error = NULL;
    OK(kt_forward_close(forward, close, strlen(close), &error));
    while (kt_events_next(events, 0, &text, NULL) == KT_OK) free(own(text));
    OK(kt_session_close(session, close, strlen(close), &error));
    CHECK(kt_forward_free(forward) == KT_OK && kt_events_free(events) == KT_OK && kt_session_free(session) == KT_OK);
    puts("visit: ok");
    return 0;
}
