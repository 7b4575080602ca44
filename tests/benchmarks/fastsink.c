/* A relay that takes everything and does not brake: one thread, epoll, PIPELINING.

   fastsink PORT [DELAY_MS]

   Every reply leaves DELAY_MS after what it answers came in, as over a long wire. Prints "listening" when it does, and
   "MESSAGES BYTES" (of bodies, with their last dots) at SIGTERM. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 1 << 18, EVENTS = 256 };
static const char END[] = "\r\n.\r\n";
static const char EHLO[] = "250-sink.example.org\r\n250-8BITMIME\r\n250 PIPELINING\r\n";

/* A connection. It outlives its socket while replies of its wait. */
struct peer {
    int fd, in_body, closing, waiting;
    size_t length, said;
    char said_text[4096], buffer[ROOM];
};

/* What is to be said, when; the delay is the same for all, so the list is in order. */
struct reply {
    struct peer *to;
    double due;
    struct reply *next;
    size_t length;
    char text[];
};

static struct reply *first, *last;
static double delay;
static long messages, bytes;
static volatile sig_atomic_t stopped;

static void stop(int number) { (void)number; stopped = 1; }

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (double)at.tv_sec + (double)at.tv_nsec / 1e9;
}

static void hang_up(struct peer *peer) {
    if (peer->fd >= 0) close(peer->fd);
    peer->fd = -1;
    if (!peer->waiting) free(peer);
}

static void add(struct peer *peer, const char *text) {
    size_t length = strlen(text);
    if (peer->said + length > sizeof peer->said_text) return;
    memcpy(peer->said_text + peer->said, text, length);
    peer->said += length;
}

/* Send what was added, now or when its time comes. Returns 0 when the connection is gone. */
static int say(struct peer *peer) {
    if (!peer->said) return 1;
    if (delay <= 0) {
        int gone = send(peer->fd, peer->said_text, peer->said, MSG_NOSIGNAL) < 0 || peer->closing;
        peer->said = 0;
        if (gone) hang_up(peer);
        return !gone;
    }
    struct reply *reply = malloc(sizeof *reply + peer->said);
    if (!reply) exit(1);
    *reply = (struct reply){.to = peer, .due = now() + delay, .length = peer->said};
    memcpy(reply->text, peer->said_text, peer->said);
    peer->said = 0;
    peer->waiting++;
    if (last) last->next = reply; else first = reply;
    last = reply;
    return 1;
}

static void say_what_is_due(void) {
    double at = now();
    while (first && first->due <= at) {
        struct reply *reply = first;
        struct peer *peer = reply->to;
        first = reply->next;
        if (!first) last = NULL;
        peer->waiting--;
        if (peer->fd >= 0 && send(peer->fd, reply->text, reply->length, MSG_NOSIGNAL) >= 0) {
            if (peer->closing && !peer->waiting) hang_up(peer);
        } else {
            hang_up(peer);
        }
        free(reply);
    }
}

static void answer(struct peer *peer, const char *line) {
    if (!strncasecmp(line, "EHLO", 4)) add(peer, EHLO);
    else if (!strncasecmp(line, "DATA", 4)) add(peer, "354 go ahead\r\n"), peer->in_body = 1;
    else if (!strncasecmp(line, "QUIT", 4)) add(peer, "221 2.0.0 bye\r\n"), peer->closing = 1;
    else add(peer, "250 2.0.0 ok\r\n");
}

/* Take commands and bodies out of the buffer; of a body only what may begin its end is kept. */
static void read_on(struct peer *peer) {
    char *at = peer->buffer, *end = peer->buffer + peer->length;
    for (;;) {
        size_t left = (size_t)(end - at);
        if (peer->in_body) {
            char *found = memmem(at, left, END, 5);
            if (!found) {
                size_t over = left > 4 ? left - 4 : 0;
                at += over;
                bytes += (long)over;
                break;
            }
            bytes += found + 5 - at;
            at = found + 5;
            peer->in_body = 0;
            messages++;
            add(peer, "250 2.0.0 taken\r\n");
        } else {
            char *line_end = memchr(at, '\n', left);
            if (!line_end) break;
            answer(peer, at);
            at = line_end + 1;
        }
    }
    peer->length = (size_t)(end - at);
    memmove(peer->buffer, at, peer->length);
}

static void hear(struct peer *peer) {
    ssize_t count = recv(peer->fd, peer->buffer + peer->length, ROOM - peer->length, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (count <= 0) {
        hang_up(peer);
        return;
    }
    peer->length += (size_t)count;
    read_on(peer);
    if (peer->length == ROOM) hang_up(peer); /* a line without end */
    else say(peer);
}

static void take(int listener, int poll) {
    int yes = 1, fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
    struct peer *peer = fd < 0 ? NULL : calloc(1, sizeof *peer);
    if (!peer) return;
    peer->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = peer};
    epoll_ctl(poll, EPOLL_CTL_ADD, fd, &event);
    add(peer, "220 sink.example.org ESMTP\r\n");
    say(peer);
}

static int listen_on(int port) {
    int yes = 1, listener = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in place = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
    place.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
    if (bind(listener, (struct sockaddr *)&place, sizeof place) || listen(listener, 1024)) {
        perror("fastsink");
        exit(1);
    }
    return listener;
}

int main(int count, char **words) {
    if (count < 2) return 2;
    delay = count > 2 ? atof(words[2]) / 1e3 : 0;
    struct sigaction action = {.sa_handler = stop};
    sigaction(SIGTERM, &action, NULL);
    int listener = listen_on(atoi(words[1])), poll = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN}, events[EVENTS];
    epoll_ctl(poll, EPOLL_CTL_ADD, listener, &event);
    puts("listening");
    fflush(stdout);
    while (!stopped) {
        double wait = first ? first->due - now() : 0;
        int ready = epoll_wait(poll, events, EVENTS, !first ? -1 : wait > 0 ? (int)(wait * 1e3) + 1 : 0);
        for (int number = 0; number < ready; number++) {
            struct peer *peer = events[number].data.ptr;
            if (!peer) take(listener, poll);
            else hear(peer);
        }
        say_what_is_due();
    }
    printf("%ld %ld\n", messages, bytes);
    return 0;
}
