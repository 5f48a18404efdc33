/* A session that forwards once, with the patience that a tool like valgrind needs. KUBECONFIG as in session.c. */
#include "check.h"

int main(void) {
    const char *options = "{\"start_deadline\": 300, \"heartbeat\": 20, \"heartbeat_limit\": 200, \"linger\": 0}";
    const char *call = "{\"destination\": \"orders:8080\"}", *close = "{\"deadline\": 300}";
    kt_session *session = NULL;
    kt_events *events = NULL;
    kt_forward *forward = NULL;
    kt_text *text = NULL;
    kt_error *error = NULL;
    OK(kt_session_start(options, strlen(options), &session, &error));
    OK(kt_session_events(session, &events, &error));
    OK(kt_session_forward(session, call, strlen(call), &forward, &error));
    OK(kt_forward_info(forward, &text, &error));
    free(own(text));
    OK(kt_forward_close(forward, close, strlen(close), &error));
    while (kt_events_next(events, 0, &text, NULL) == KT_OK) free(own(text));
    OK(kt_session_close(session, close, strlen(close), &error));
    CHECK(kt_forward_free(forward) == KT_OK && kt_events_free(events) == KT_OK && kt_session_free(session) == KT_OK);
    puts("visit: ok");
    return 0;
}
