/* Notes where a process connects to, and which names it looks up, one line each: for tests, by LD_PRELOAD.
 *
 * CONNECTS names the file. Nothing is kept from happening.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static void say(const char *what, const char *host, int port) {
    char line[512];
    const char *path = getenv("CONNECTS");
    int file = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
    if (file < 0) return;
    int size = port < 0 ? snprintf(line, sizeof line, "%s %s\n", what, host)
                        : snprintf(line, sizeof line, "%s %s:%d\n", what, host, port);
    if (size > 0 && write(file, line, (size_t)size < sizeof line ? (size_t)size : sizeof line - 1) < 0) abort();
    close(file);
}

static void note(const char *what, const struct sockaddr *to) {
    char host[INET6_ADDRSTRLEN] = "?";
    if (!to) return;
    if (to->sa_family == AF_INET) {
        const struct sockaddr_in *in = (const struct sockaddr_in *)to;
        inet_ntop(AF_INET, &in->sin_addr, host, sizeof host);
        say(what, host, ntohs(in->sin_port));
    } else if (to->sa_family == AF_INET6) {
        const struct sockaddr_in6 *in = (const struct sockaddr_in6 *)to;
        inet_ntop(AF_INET6, &in->sin6_addr, host, sizeof host);
        say(what, host, ntohs(in->sin6_port));
    } else if (to->sa_family == AF_UNIX) {
        say(what, ((const struct sockaddr_un *)to)->sun_path, -1);
    } else {
        say(what, "another family", to->sa_family);
    }
}

int connect(int socket, const struct sockaddr *to, socklen_t size) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    note("connect", to);
    return real(socket, to, size);
}

ssize_t sendto(int socket, const void *bytes, size_t count, int flags, const struct sockaddr *to, socklen_t size) {
    static ssize_t (*real)(int, const void *, size_t, int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "sendto");
    note("send", to);
    return real(socket, bytes, count, flags, to, size);
}

ssize_t sendmsg(int socket, const struct msghdr *message, int flags) {
    static ssize_t (*real)(int, const struct msghdr *, int);
    if (!real) real = dlsym(RTLD_NEXT, "sendmsg");
    note("send", message->msg_name);
    return real(socket, message, flags);
}

int getaddrinfo(const char *name, const char *service, const struct addrinfo *hints, struct addrinfo **found) {
    static int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **);
    struct in6_addr number;
    if (!real) real = dlsym(RTLD_NEXT, "getaddrinfo");
    if (name && inet_pton(AF_INET, name, &number) != 1 && inet_pton(AF_INET6, name, &number) != 1) say("name", name, -1);
    return real(name, service, hints, found);
}
