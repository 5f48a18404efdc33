/* A server of this process, and a caller of those in a cluster. */
#ifndef SERVE_H
#define SERVE_H

#include "check.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

/* Answers everybody with a text, from a thread of its own, until the socket is shut down. */
struct server {
    int fd;
    unsigned port;
    const char *text;
    pthread_t thread;
};

static inline void *serve(void *given) {
    struct server *server = (struct server *)given;
    int client;
    while ((client = accept(server->fd, NULL, NULL)) >= 0) {
        char request[4096], answer[256];
        int length = snprintf(answer, sizeof answer, "HTTP/1.1 200 OK\r\nContent-Length: %u\r\nConnection: close\r\n\r\n%s",
                              (unsigned)strlen(server->text), server->text);
        if (read(client, request, sizeof request) > 0) CHECK(write(client, answer, (size_t)length) == length);
        close(client);
    }
    return NULL;
}

static inline void start_server(struct server *server, const char *text) {
    struct sockaddr_in here;
    socklen_t size = sizeof here;
    memset(&here, 0, sizeof here);
    here.sin_family = AF_INET;
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    server->text = text;
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(server->fd >= 0 && bind(server->fd, (struct sockaddr *)&here, size) == 0 && listen(server->fd, 64) == 0);
    CHECK(getsockname(server->fd, (struct sockaddr *)&here, &size) == 0);
    server->port = ntohs(here.sin_port);
    CHECK(pthread_create(&server->thread, NULL, serve, server) == 0);
}

static inline void stop_server(struct server *server) {
    shutdown(server->fd, SHUT_RDWR);
    CHECK(pthread_join(server->thread, NULL) == 0);
    close(server->fd);
}

/* Whether the answer at this local address has this text in it; a connection that was cut has none. */
static inline int answers(const char *address, const char *text) {
    const char *request = "GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n";
    struct sockaddr_in to;
    char answer[4096];
    size_t length = 0;
    ssize_t got = -1;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    memset(&to, 0, sizeof to);
    to.sin_family = AF_INET;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    CHECK(fd >= 0);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 && send(fd, request, strlen(request), MSG_NOSIGNAL) > 0) {
        while ((got = read(fd, answer + length, sizeof answer - 1 - length)) > 0) length += (size_t)got;
    }
    close(fd);
    answer[length] = 0;
    return strstr(answer, text) != NULL;
}

/* A condition that comes true in a while. */
static inline void until_answers(const char *address, const char *text) {
    for (int i = 0; i < 600 && !answers(address, text); i++) usleep(100000);
    CHECK(answers(address, text));
}

#endif
