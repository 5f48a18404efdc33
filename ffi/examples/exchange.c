/* exchange SERVICE: answers a Service's callers from here, in one loop that also hears what happens, until its standard
 * input ends.
 *
 *   cc exchange.c $(pkg-config --cflags --libs kubetether) -o exchange && ./exchange orders
 */
#include <kubetether.h>

#include <arpa/inet.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int failed(kt_error *error) {
    fprintf(stderr, "%s\n", kt_error_report(error).ptr);
    kt_error_free(error);
    return 1;
}

/* Listens at a free port of 127.0.0.1. */
static int listen_here(unsigned *port) {
    struct sockaddr_in here;
    socklen_t size = sizeof here;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, size) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&here, &size) != 0) {
        perror("listen");
        return -1;
    }
    *port = ntohs(here.sin_port);
    return fd;
}

/* One request, one answer. */
static void answer(int client) {
    const char *text = "HTTP/1.1 200 OK\r\nContent-Length: 12\r\nConnection: close\r\n\r\nthis machine";
    char request[4096];
    if (read(client, request, sizeof request) > 0 && write(client, text, strlen(text)) < 0) perror("write");
    close(client);
}

/* Tells what has happened by now; returns 0 when the session is over. */
static int hear(kt_events *events) {
    kt_text *event = NULL;
    kt_status status;
    while ((status = kt_events_next(events, 0, &event, NULL)) == KT_OK) {
        fprintf(stderr, "%s\n", kt_text_get(event).ptr);
        kt_text_free(event);
    }
    return status == KT_DEADLINE;
}

int main(int argc, char **argv) {
    kt_session *session = NULL;
    kt_events *events = NULL;
    kt_exchange *exchange = NULL;
    kt_error *error = NULL;
    struct pollfd ready[2];
    char call[512];
    unsigned port = 0;
    int result = 0;
    if (argc != 2) {
        fprintf(stderr, "usage: exchange SERVICE\n");
        return 2;
    }
    ready[0].fd = listen_here(&port);
    ready[1].fd = STDIN_FILENO;
    ready[0].events = ready[1].events = POLLIN;
    if (ready[0].fd < 0) return 1;
    if (kt_session_start(NULL, 0, &session, &error) != KT_OK) return failed(error);
    snprintf(call, sizeof call, "{\"target\": \"%s\", \"to\": %u}", argv[1], port);
    if (kt_session_events(session, &events, &error) != KT_OK ||
        kt_session_exchange(session, call, strlen(call), &exchange, &error) != KT_OK) {
        result = failed(error);
    } else {
        printf("%s comes here\n", argv[1]);
        fflush(stdout);
        while (hear(events) && !(ready[1].revents & (POLLIN | POLLHUP))) {
            /* Callers at once, what happens twice a second. */
            if (poll(ready, 2, 500) > 0 && (ready[0].revents & POLLIN)) answer(accept(ready[0].fd, NULL, NULL));
        }
    }
    /* Puts the Service back. */
    error = NULL;
    if (kt_session_close(session, NULL, 0, &error) != KT_OK) result = failed(error);
    kt_exchange_free(exchange);
    kt_events_free(events);
    kt_session_free(session);
    close(ready[0].fd);
    return result;
}
