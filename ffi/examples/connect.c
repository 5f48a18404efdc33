/* connect DESTINATION: asks a place in the cluster over HTTP and prints what it says.
 *
 *   cc connect.c $(pkg-config --cflags --libs kubetether) -o connect && ./connect orders:8080
 */
#include <kubetether.h>

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int failed(kt_error *error) {
    fprintf(stderr, "%s\n", kt_error_report(error).ptr);
    kt_error_free(error);
    return 1;
}

/* Prints the body of the answer of a server at `address`, as 127.0.0.1:40123. */
static int ask(const char *address) {
    struct sockaddr_in to;
    char answer[4096];
    size_t length = 0;
    ssize_t got;
    const char *request = "GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n";
    const char *body;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0 ||
        write(fd, request, strlen(request)) != (ssize_t)strlen(request)) {
        perror(address);
        if (fd >= 0) close(fd);
        return 1;
    }
    while (length < sizeof answer - 1 && (got = read(fd, answer + length, sizeof answer - 1 - length)) > 0) {
        length += (size_t)got;
    }
    close(fd);
    answer[length] = 0;
    body = strstr(answer, "\r\n\r\n");
    printf("%s\n", body ? body + 4 : "no answer");
    return body ? 0 : 1;
}

int main(int argc, char **argv) {
    kt_session *session = NULL;
    kt_forward *forward = NULL;
    kt_text *address = NULL;
    kt_error *error = NULL;
    char call[512];
    int result;
    if (argc != 2) {
        fprintf(stderr, "usage: connect DESTINATION\n");
        return 2;
    }
    /* The cluster that kubectl would talk to. */
    if (kt_session_start(NULL, 0, &session, &error) != KT_OK) return failed(error);
    snprintf(call, sizeof call, "{\"destination\": \"%s\"}", argv[1]);
    if (kt_session_forward(session, call, strlen(call), &forward, &error) != KT_OK ||
        kt_forward_address(forward, &address, &error) != KT_OK) {
        result = failed(error);
    } else {
        result = ask(kt_text_get(address).ptr);
    }
    /* Takes away what is there for it, whatever came of it. */
    error = NULL;
    if (kt_session_close(session, NULL, 0, &error) != KT_OK) result = failed(error);
    kt_text_free(address);
    kt_forward_free(forward);
    kt_session_free(session);
    return result;
}
