/* kubetether for C: connects a developer's machine and a Kubernetes cluster, both ways.
 *
 * Generated from ffi/src, not to be edited.
 *
 * How all of it works, with examples: README.md beside the folder of this header. In short:
 * - A function that can fail returns a status. Its last argument, which may be NULL, receives an error; free it by
 *   kt_error_free. Outputs stand before it and are written on success alone.
 * - A handle is good until it is freed. NULL, one that was freed, and what never was one are refused (KT_ARGUMENT), also by the
 *   functions that free; freeing NULL is fine. Functions without a status give an empty answer then.
 * - Texts go in as (pointer, length), need no NUL, and are read during the call alone; they have to be UTF-8. NULL of length 0 is
 *   the empty one. They come out as kt_text, to be freed by kt_text_free.
 * - Pointers that are not NULL have to lead to as much memory as is read or written there.
 * - Every function may be called by any thread at any time, also with the same handle.
 * - A process that was forked from one with sessions cannot use them (KT_FORKED).
 */

#ifndef KUBETETHER_H
#define KUBETETHER_H

#include <stdint.h>
#include <stddef.h>

/** The version of this header, for the preprocessor; `kt_version` tells that of the library. */
#define KT_VERSION "0.1.0"
#define KT_VERSION_MAJOR 0
#define KT_VERSION_MINOR 1
#define KT_VERSION_PATCH 0
#define KT_VERSION_NUMBER (KT_VERSION_MAJOR << 16 | KT_VERSION_MINOR << 8 | KT_VERSION_PATCH)


/**
 * What a function returns. Numbers keep their meaning, and there will be more.
 */
enum kt_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Done.
     */
    KT_OK = 0,
    /**
     * An argument or setting makes no sense.
     */
    KT_CONFIG = 100,
    /**
     * A call of another language gave what is no argument: NULL, text that is not UTF-8, a handle of another kind.
     */
    KT_ARGUMENT = 101,
    /**
     * No kubeconfig was found, or it cannot be read or used.
     */
    KT_KUBECONFIG = 110,
    /**
     * The kubeconfig has no such context.
     */
    KT_NO_SUCH_CONTEXT = 111,
    /**
     * The agent's file is missing on this machine.
     */
    KT_AGENT_MISSING = 120,
    /**
     * A local port or path is taken or cannot be used.
     */
    KT_LOCAL_ADDRESS = 130,
    /**
     * The process was forked from one with sessions.
     */
    KT_FORKED = 140,
    /**
     * The API server cannot be reached.
     */
    KT_UNREACHABLE = 200,
    /**
     * The API server does not know who this is.
     */
    KT_UNAUTHORIZED = 201,
    /**
     * RBAC or an admission policy does not allow it.
     */
    KT_FORBIDDEN = 202,
    /**
     * The cluster answered with another error.
     */
    KT_CLUSTER = 203,
    /**
     * The namespace does not exist.
     */
    KT_NO_SUCH_NAMESPACE = 300,
    /**
     * The Service, workload or pod does not exist.
     */
    KT_NO_SUCH_TARGET = 301,
    /**
     * The target is of a kind or shape that this cannot be done to.
     */
    KT_UNSUPPORTED = 302,
    /**
     * Somebody else holds the Service.
     */
    KT_HELD = 303,
    /**
     * The Service has no such port, or the choice is ambiguous.
     */
    KT_NO_SUCH_PORT = 304,
    /**
     * The destination refused the connection, or does not answer.
     */
    KT_REFUSED = 305,
    /**
     * The destination's name is not known in the cluster.
     */
    KT_NAME_NOT_FOUND = 306,
    /**
     * The Service or namespace went away, or somebody else took it.
     */
    KT_LOST = 307,
    /**
     * The agent could not be started: quota, policy, image, scheduling.
     */
    KT_AGENT_START = 400,
    /**
     * The agent runs but cannot be connected to.
     */
    KT_AGENT_UNREACHABLE = 401,
    /**
     * The originals could not be reached from the agent.
     */
    KT_PASS_THROUGH = 402,
    /**
     * Traffic of the Service did not arrive here.
     */
    KT_NOT_PROVEN = 403,
    /**
     * The agent speaks another version.
     */
    KT_AGENT_VERSION = 404,
    /**
     * The deadline passed.
     */
    KT_DEADLINE = 500,
    /**
     * The session or handle is closed.
     */
    KT_CLOSED = 501,
    /**
     * The cluster could not be put back as it was.
     */
    KT_NOT_RESTORED = 502,
    /**
     * Whoever asked for it does not want it any more.
     */
    KT_CANCELLED = 503,
    /**
     * A fault of kubetether itself.
     */
    KT_INTERNAL = 900,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kt_status kt_status;
#else
typedef uint32_t kt_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * How much a line of the log matters; each level is told with those before it.
 */
enum kt_log_level
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    /**
     * Faults of the library itself.
     */
    KT_LOG_ERROR = 1,
    /**
     * Somebody should look.
     */
    KT_LOG_WARN = 2,
    /**
     * Steps.
     */
    KT_LOG_INFO = 3,
    /**
     * Names and addresses.
     */
    KT_LOG_DEBUG = 4,
    /**
     * Packets.
     */
    KT_LOG_TRACE = 5,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum kt_log_level kt_log_level;
#else
typedef uint32_t kt_log_level;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

/**
 * What calls that wait can be ended by.
 */
typedef struct kt_cancel kt_cancel;

/**
 * What was tried, why it failed, and what to do about it.
 */
typedef struct kt_error kt_error;

/**
 * A subscription to what happens in a session.
 */
typedef struct kt_events kt_events;

/**
 * An exchange in force: a Service's traffic comes here.
 */
typedef struct kt_exchange kt_exchange;

/**
 * A forward that is up: a local port that leads into the cluster.
 */
typedef struct kt_forward kt_forward;

/**
 * An attachment to one cluster and namespace.
 */
typedef struct kt_session kt_session;

/**
 * A text that was made for the caller, JSON most of the time.
 */
typedef struct kt_text kt_text;

/**
 * A view of a text: UTF-8, `len` bytes long, with a NUL behind them. `ptr` is never NULL. It is valid as long as what it
 * was taken from.
 */
typedef struct {
    /**
     * The first byte.
     */
    const char *ptr;
    /**
     * How many bytes there are, without the NUL.
     */
    size_t len;
} kt_str;

/**
 * Receives one line of the log: the part of the library it comes from, and the text. Both are valid during the call alone. Any thread may call, several at
 * once.
 */
typedef void (*kt_log_fn)(void *userdata, kt_log_level level, kt_str target, kt_str message);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The version of the library that runs, as `KT_VERSION_NUMBER` has it: `MAJOR << 16 | MINOR << 8 | PATCH`.
 */
uint32_t kt_version_number(void);

/**
 * The same as text: `0.1.0`. Not to be freed.
 */
kt_str kt_version(void);

/**
 * The JSON Schema of everything that goes in and comes out. Not to be freed.
 */
kt_str kt_schema(void);

/**
 * The name of a status, the same in all languages: `no_such_target`; `ok` for `KT_OK`, empty for a number that is none.
 * Not to be freed.
 */
kt_str kt_status_name(kt_status status);

/**
 * What a status means, in a sentence; empty for a number that is none. Not to be freed.
 */
kt_str kt_status_meaning(kt_status status);

/**
 * The kind of failure. `KT_OK` for NULL, `KT_ARGUMENT` for what is no error.
 */
kt_status kt_error_status(const kt_error *error);

/**
 * What was tried and what failed, in one line.
 */
kt_str kt_error_message(const kt_error *error);

/**
 * What it is about, as `kind/name`; may be empty.
 */
kt_str kt_error_object(const kt_error *error);

/**
 * What to do about it; may be empty.
 */
kt_str kt_error_hint(const kt_error *error);

/**
 * How many causes are known.
 */
size_t kt_error_cause_count(const kt_error *error);

/**
 * One of the causes, from the nearest (0) to the first one; empty beyond them.
 */
kt_str kt_error_cause(const kt_error *error, size_t index);

/**
 * How many lines of evidence there are.
 */
size_t kt_error_evidence_count(const kt_error *error);

/**
 * A line of what the cluster says of the pod to blame: conditions, events, its last log lines; empty beyond them.
 */
kt_str kt_error_evidence(const kt_error *error,
                         size_t index);

/**
 * All of it for people, over several lines.
 */
kt_str kt_error_report(const kt_error *error);

/**
 * All of it for programs: `Error` of the schema.
 */
kt_str kt_error_json(const kt_error *error);

/**
 * Frees an error, and with it the views of its texts.
 */
kt_status kt_error_free(kt_error *error);

/**
 * What is in a text: valid until that is freed. Empty for NULL and for what is no text.
 */
kt_str kt_text_get(const kt_text *text);

/**
 * Frees a text.
 */
kt_status kt_text_free(kt_text *text);

/**
 * Reaches a cluster and announces the session there. `options`: `SessionOptions` of the schema; NULL for the defaults.
 * Returns within its `start_deadline`.
 */
kt_status kt_session_start(const char *options,
                           size_t options_len,
                           kt_session **session,
                           kt_error **error);

/**
 * What it is: `SessionInfo` of the schema.
 */
kt_status kt_session_info(const kt_session *session, kt_text **info, kt_error **error);

/**
 * Where it stands: `State` of the schema.
 */
kt_status kt_session_state(const kt_session *session, kt_text **state, kt_error **error);

/**
 * The connections and UDP associations that go through its handles, one by one: `Flows` of the schema. Told are those that
 * are open, and those that ended since an earlier answer, of which `after` is `next`; 0 for all that is remembered, which
 * are the last 1024 that ended. Never waits.
 */
kt_status kt_session_flows(const kt_session *session,
                           uint64_t after,
                           kt_text **flows,
                           kt_error **error);

/**
 * What the cluster says of its agents, for the report of a failed test: a JSON list of texts. What cannot be had within five
 * seconds is left out.
 */
kt_status kt_session_evidence(const kt_session *session,
                              kt_text **evidence,
                              kt_error **error);

/**
 * A subscription of its own to what happens from now on.
 */
kt_status kt_session_events(const kt_session *session, kt_events **events, kt_error **error);

/**
 * Exchanges a Service: when this returns, its traffic comes here. `call`: `ExchangeCall` of the schema.
 */
kt_status kt_session_exchange(const kt_session *session,
                              const char *call,
                              size_t call_len,
                              kt_exchange **exchange,
                              kt_error **error);

/**
 * Opens a local port that leads into the cluster; it has been dialled once when this returns. `call`: `ForwardCall` of the
 * schema.
 */
kt_status kt_session_forward(const kt_session *session,
                             const char *call,
                             size_t call_len,
                             kt_forward **forward,
                             kt_error **error);

/**
 * Closes all of its handles and returns when nothing of it is left in the cluster. May be called again. `call`: `CloseCall` of
 * the schema; NULL for the defaults.
 */
kt_status kt_session_close(const kt_session *session,
                           const char *call,
                           size_t call_len,
                           kt_error **error);

/**
 * Waits until it is over, as asked or not: why, as text. `KT_DEADLINE`, without an error, when it is not over by then.
 */
kt_status kt_session_closed(const kt_session *session,
                            uint32_t timeout_ms,
                            kt_text **why,
                            kt_error **error);

/**
 * Frees a session. One that is not closed is closed in the background, as long as the process lives.
 */
kt_status kt_session_free(kt_session *session);

/**
 * What it is: `ExchangeInfo` of the schema.
 */
kt_status kt_exchange_info(const kt_exchange *exchange, kt_text **info, kt_error **error);

/**
 * Where it stands: `State` of the schema.
 */
kt_status kt_exchange_state(const kt_exchange *exchange, kt_text **state, kt_error **error);

/**
 * What has come here so far: `Stats` of the schema.
 */
kt_status kt_exchange_stats(const kt_exchange *exchange, kt_text **stats, kt_error **error);

/**
 * What holds callers should this process or the interceptor die: `Safety` of the schema.
 */
kt_status kt_exchange_safety(const kt_exchange *exchange, kt_text **safety, kt_error **error);

/**
 * Puts the Service back and returns when an original has answered. May be called again. `call`: `CloseCall` of the schema; NULL for
 * the defaults.
 */
kt_status kt_exchange_close(const kt_exchange *exchange,
                            const char *call,
                            size_t call_len,
                            kt_error **error);

/**
 * Waits until it is over, as asked or not: `State` of the schema. `KT_DEADLINE`, without an error, when it is not over by then.
 */
kt_status kt_exchange_closed(const kt_exchange *exchange,
                             uint32_t timeout_ms,
                             kt_text **state,
                             kt_error **error);

/**
 * Frees an exchange. One that is not closed is closed in the background, as long as the process lives.
 */
kt_status kt_exchange_free(kt_exchange *exchange);

/**
 * The local address, as `127.0.0.1:40123`.
 */
kt_status kt_forward_address(const kt_forward *forward, kt_text **address, kt_error **error);

/**
 * What it is: `ForwardInfo` of the schema.
 */
kt_status kt_forward_info(const kt_forward *forward, kt_text **info, kt_error **error);

/**
 * Where it stands: `State` of the schema.
 */
kt_status kt_forward_state(const kt_forward *forward, kt_text **state, kt_error **error);

/**
 * What has gone through it so far: `Stats` of the schema.
 */
kt_status kt_forward_stats(const kt_forward *forward, kt_text **stats, kt_error **error);

/**
 * Ends it and waits for that. May be called again. `call`: `CloseCall` of the schema; NULL for the defaults.
 */
kt_status kt_forward_close(const kt_forward *forward, const char *call, size_t call_len, kt_error **error);

/**
 * Waits until it is over, as asked or not: `State` of the schema. `KT_DEADLINE`, without an error, when it is not over by then.
 */
kt_status kt_forward_closed(const kt_forward *forward,
                            uint32_t timeout_ms,
                            kt_text **state,
                            kt_error **error);

/**
 * Frees a forward; one that is not closed ends.
 */
kt_status kt_forward_free(kt_forward *forward);

/**
 * The next event: `Event` of the schema. The first is a `snapshot`, the last is `closed`. `KT_DEADLINE` when there is none by
 * then, `KT_CLOSED` when there never will be one again; neither gives an error. Who pulls too slowly loses the oldest
 * beyond 256, and is told how many by an event `dropped`.
 */
kt_status kt_events_next(const kt_events *events,
                         uint32_t timeout_ms,
                         kt_text **event,
                         kt_error **error);

/**
 * How many events this subscription has lost by being slow; 0 for what is no subscription.
 */
uint64_t kt_events_dropped(const kt_events *events);

/**
 * Ends a subscription.
 */
kt_status kt_events_free(kt_events *events);

/**
 * Makes what calls can be ended by.
 */
kt_status kt_cancel_new(kt_cancel **cancel, kt_error **error);

/**
 * From now on those calls of this thread that wait can be ended by `cancel`; by nothing, as at first, when it is NULL.
 */
kt_status kt_cancel_use(const kt_cancel *cancel,
                        kt_error **error);

/**
 * Ends the calls of all threads that use it, those that wait now and those to come, with `KT_CANCELLED`. A start that is ended leaves
 * nothing, a close goes on in the background, no event is lost. Any thread may call it, but no signal handler.
 */
kt_status kt_cancel_now(const kt_cancel *cancel);

/**
 * Frees it; threads that use it cannot be told any more.
 */
kt_status kt_cancel_free(kt_cancel *cancel);

/**
 * Who is there and what they hold: `Status` of the schema. `session`: `SessionOptions`, `call`: `StatusCall`; NULL for the defaults.
 */
kt_status kt_cluster_status(const char *session,
                            size_t session_len,
                            const char *call,
                            size_t call_len,
                            kt_text **status,
                            kt_error **error);

/**
 * Takes away what dead sessions left, after their Services were put back: `Cleaned` of the schema, in which stands what could not
 * be done. `session`: `SessionOptions`, `call`: `CleanCall`; NULL for the defaults.
 */
kt_status kt_cluster_clean(const char *session,
                           size_t session_len,
                           const char *call,
                           size_t call_len,
                           kt_text **cleaned,
                           kt_error **error);

/**
 * Puts one Service back, whoever holds it: `Recovered` of the schema. `session`: `SessionOptions`; NULL for the defaults;
 * `call`: `RecoverCall`.
 */
kt_status kt_cluster_recover(const char *session,
                             size_t session_len,
                             const char *call,
                             size_t call_len,
                             kt_text **recovered,
                             kt_error **error);

/**
 * Has `callback` called with each line of the log up to `level`, from now on and instead of the one before. It must neither
 * call the library nor wait for a thread that does.
 */
kt_status kt_log_set(kt_log_level level,
                     kt_log_fn callback,
                     void *userdata,
                     kt_error **error);

/**
 * Ends that: when this returns, the callback is not running and will not be called again.
 */
kt_status kt_log_clear(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KUBETETHER_H */
