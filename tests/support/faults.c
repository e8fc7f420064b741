/* A disk and a clock that misbehave, under a real server: preloaded, it stands between a process and the kernel.
 *
 * FAULTS_CONTROL names a file of six 64-bit numbers that every process maps: see `struct control`. FAULTS_UNDER is a part of
 * the paths whose writes, syncs and openings for writing are meant. FAULTS_LOG, where it is given, is appended one `struct event` for every such
 * write and sync, and for every write to a TCP socket, with what was written behind it. Nothing of the server is told. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { WRITE = 1, SYNC = 2, SEND = 3, SECOND = 1000000000, LOOK_US = 500, PIECES = 1024 };

/* Delays in microseconds, below zero: for as long as it stays there. An errno of 0 is no failure. */
struct control {
    volatile int64_t clock_ns, write_delay_us, write_errno, sync_delay_us, sync_errno, open_errno;
};

struct event {
    int64_t began_ns, ended_ns, offset, result;
    uint64_t inode;
    uint32_t pid, kind, error, size;
};

static struct control *control;
static int log_fd = -1;
static const char *under;

__attribute__((constructor)) static void open_files(void) {
    const char *path = getenv("FAULTS_CONTROL"), *log = getenv("FAULTS_LOG");
    under = getenv("FAULTS_UNDER");
    int fd = path == NULL ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        void *at = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
        if (at != MAP_FAILED) control = at;
        close(fd);
    }
    if (log == NULL) return;
    fd = open(log, O_WRONLY | O_APPEND | O_CLOEXEC);
    /* Far from the numbers that a program counts on. */
    if (fd >= 0) log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 900);
    if (fd >= 0) close(fd);
}

static int64_t now_ns(void) {
    struct timespec now;
    syscall(SYS_clock_gettime, CLOCK_MONOTONIC, &now);
    return now.tv_sec * (int64_t)SECOND + now.tv_nsec;
}

static int is_meant(int fd) {
    char link[64], path[4096];
    if (under == NULL || control == NULL) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t size = readlink(link, path, sizeof path - 1);
    if (size < 0) return 0;
    path[size] = 0;
    return strstr(path, under) != NULL;
}

/* Waits as the control says; then 0, or the errno with which the call is to fail. */
static int suffer(volatile int64_t *delay_us, volatile int64_t *failure) {
    int64_t began_ns = now_ns(), delay;
    while ((delay = *delay_us) < 0 || (now_ns() - began_ns) / 1000 < delay) usleep(LOOK_US);
    return (int)*failure;
}

static void tell(struct event *event, const struct iovec *pieces, int count) {
    int before = errno;
    struct iovec all[PIECES + 1] = {{event, sizeof *event}};
    size_t left = event->result > 0 && event->kind != SYNC ? (size_t)event->result : 0;
    int used = 1;
    event->ended_ns = now_ns();
    event->pid = (uint32_t)getpid();
    event->error = event->result < 0 ? (uint32_t)before : 0;
    event->size = (uint32_t)left;
    for (int i = 0; i < count && left > 0 && used <= PIECES; i++) {
        all[used] = pieces[i];
        if (all[used].iov_len > left) all[used].iov_len = left;
        left -= all[used++].iov_len;
    }
    /* In one call: what several processes append does not mix. */
    syscall(SYS_writev, log_fd, all, used);
    errno = before;
}

static ssize_t write_file(int fd, const void *data, size_t size, off_t at) {
    struct stat about;
    struct event event = {.began_ns = now_ns(), .kind = WRITE, .offset = at};
    int failure = suffer(&control->write_delay_us, &control->write_errno);
    if (failure != 0) {
        errno = failure;
        event.result = -1;
    } else if (at < 0) {
        event.result = syscall(SYS_write, fd, data, size);
    } else {
        event.result = syscall(SYS_pwrite64, fd, data, size, at);
    }
    if (log_fd >= 0) {
        struct iovec piece = {(void *)data, size};
        int before = errno;
        if (fstat(fd, &about) == 0) event.inode = about.st_ino;
        errno = before;
        tell(&event, &piece, 1);
    }
    return event.result;
}

static int sync_file(int fd, long call) {
    struct stat about;
    struct event event = {.began_ns = now_ns(), .kind = SYNC};
    if (!is_meant(fd)) return (int)syscall(call, fd);
    int failure = suffer(&control->sync_delay_us, &control->sync_errno);
    event.result = failure != 0 ? -1 : syscall(call, fd);
    if (failure != 0) errno = failure;
    if (log_fd >= 0) {
        int before = errno;
        if (fstat(fd, &about) == 0) event.inode = about.st_ino;
        errno = before;
        tell(&event, NULL, 0);
    }
    return (int)event.result;
}

static int is_tcp(int fd, uint64_t *inode) {
    struct stat about;
    struct sockaddr_storage name;
    socklen_t size = sizeof name;
    int before = errno;
    int found = log_fd >= 0 && fstat(fd, &about) == 0 && S_ISSOCK(about.st_mode) &&
                getsockname(fd, (struct sockaddr *)&name, &size) == 0 &&
                (name.ss_family == AF_INET || name.ss_family == AF_INET6);
    if (found) *inode = about.st_ino;
    errno = before;
    return found;
}

int openat64(int directory, const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    if (control != NULL && control->open_errno != 0 && under != NULL && strstr(path, under) != NULL &&
        (flags & O_ACCMODE) != O_RDONLY) {
        errno = (int)control->open_errno;
        return -1;
    }
    return (int)syscall(SYS_openat, directory, path, flags | O_LARGEFILE, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0;
    va_end(more);
    return openat64(AT_FDCWD, path, flags, mode);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off_t at) {
    return is_meant(fd) ? write_file(fd, data, size, at) : syscall(SYS_pwrite64, fd, data, size, at);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

int fdatasync(int fd) { return sync_file(fd, SYS_fdatasync); }

int fsync(int fd) { return sync_file(fd, SYS_fsync); }

ssize_t write(int fd, const void *data, size_t size) {
    struct event event = {.kind = SEND};
    struct iovec piece = {(void *)data, size};
    if (is_tcp(fd, &event.inode)) {
        event.began_ns = now_ns();
        event.result = syscall(SYS_write, fd, data, size);
        tell(&event, &piece, 1);
        return event.result;
    }
    return is_meant(fd) ? write_file(fd, data, size, -1) : syscall(SYS_write, fd, data, size);
}

ssize_t writev(int fd, const struct iovec *pieces, int count) {
    struct event event = {.kind = SEND};
    if (!is_tcp(fd, &event.inode)) return syscall(SYS_writev, fd, pieces, count);
    event.began_ns = now_ns();
    event.result = syscall(SYS_writev, fd, pieces, count);
    tell(&event, pieces, count);
    return event.result;
}

ssize_t send(int fd, const void *data, size_t size, int flags) {
    struct event event = {.kind = SEND};
    struct iovec piece = {(void *)data, size};
    if (!is_tcp(fd, &event.inode)) return syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
    event.began_ns = now_ns();
    event.result = syscall(SYS_sendto, fd, data, size, flags, NULL, 0);
    tell(&event, &piece, 1);
    return event.result;
}

ssize_t sendmsg(int fd, const struct msghdr *message, int flags) {
    struct event event = {.kind = SEND};
    if (!is_tcp(fd, &event.inode)) return syscall(SYS_sendmsg, fd, message, flags);
    event.began_ns = now_ns();
    event.result = syscall(SYS_sendmsg, fd, message, flags);
    tell(&event, message->msg_iov, (int)message->msg_iovlen);
    return event.result;
}

int clock_gettime(clockid_t which, struct timespec *now) {
    int failed = (int)syscall(SYS_clock_gettime, which, now);
    if (failed || control == NULL || control->clock_ns == 0) return failed;
    if (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE) {
        int64_t moved = now->tv_sec * (int64_t)SECOND + now->tv_nsec + control->clock_ns;
        now->tv_sec = moved / SECOND;
        now->tv_nsec = moved % SECOND;
    }
    return failed;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    struct timespec moved;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &moved);
    now->tv_sec = moved.tv_sec;
    now->tv_usec = moved.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *into) {
    struct timespec moved;
    clock_gettime(CLOCK_REALTIME, &moved);
    if (into != NULL) *into = moved.tv_sec;
    return moved.tv_sec;
}
