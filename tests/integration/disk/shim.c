/* A disk that fails, and a disk that remembers: loaded into the program with LD_PRELOAD by the tests in this folder.
 *
 * DISK_PREFIXES  paths that begin with one of these (separated by ':') are on that disk
 * DISK_FOLDER    the folder they lie in, so that its fsync belongs to the disk too
 * DISK_FAIL_AT   the number of the call that fails, from 1; every call that can change the disk counts
 * DISK_ERRNO     how it fails: 5 is EIO, 28 is ENOSPC
 * DISK_STICKY    if set, every call after it fails too
 * DISK_FAILED    file to which the name of each call that failed is appended
 * DISK_JOURNAL   file to which everything that was done is appended, to be replayed
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define MOST 4096

/* What is known about an open file: not ours, a file, a folder, or shared memory, which no disk keeps. */
enum { OTHER, A_FILE, A_FOLDER, MEMORY };

static char kinds[MOST];
static char names[MOST][256];
static pthread_mutex_t turn = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static long calls;
static int journal = -2;

#define REAL(type, name, ...)                                  \
    static type (*real)(__VA_ARGS__);                          \
    if (!real) real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

static int real_open(const char *path, int flags, mode_t mode) {
    REAL(int, "open64", const char *, int, ...);
    return real(path, flags, mode);
}

static ssize_t real_write(int fd, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    return real(fd, data, size);
}

static int kind_of(const char *path) {
    const char *list = getenv("DISK_PREFIXES");
    const char *folder = getenv("DISK_FOLDER");
    if (folder && !strcmp(path, folder)) return A_FOLDER;
    while (list && *list) {
        size_t length = strcspn(list, ":");
        if (length && !strncmp(path, list, length)) {
            size_t all = strlen(path);
            if (all > 4 && !strcmp(path + all - 4, "-shm")) return MEMORY;
            return A_FILE;
        }
        list += length + (list[length] == ':');
    }
    return OTHER;
}

static int kind(int fd) { return fd >= 0 && fd < MOST ? kinds[fd] : OTHER; }

/* Whether this call is the one that fails. */
static int fails(const char *what, const char *path) {
    const char *at = getenv("DISK_FAIL_AT");
    calls++;
    if (!at || !(calls == atol(at) || (getenv("DISK_STICKY") && calls > atol(at)))) return 0;
    const char *file = getenv("DISK_FAILED");
    if (file) {
        char line[600];
        int fd = real_open(file, O_WRONLY | O_CREAT | O_APPEND, 0600);
        const char *name = strrchr(path, '/');
        int size = snprintf(line, sizeof line, "%ld %s %s\n", calls, what, name ? name + 1 : path);
        if (fd >= 0) {
            real_write(fd, line, (size_t)size);
            close(fd);
        }
    }
    const char *number = getenv("DISK_ERRNO");
    errno = number ? atoi(number) : EIO;
    return 1;
}

struct record {
    char op;
    char pad;
    uint16_t path;
    uint32_t size;
    uint64_t inode;
    uint64_t offset;
} __attribute__((packed));

static void note(char op, const char *path, uint64_t inode, uint64_t offset, const void *data, size_t size) {
    if (journal == -2) {
        const char *file = getenv("DISK_JOURNAL");
        journal = file ? real_open(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;
    }
    if (journal < 0) return;
    size_t length = path ? strlen(path) : 0;
    struct record record = {op, 0, (uint16_t)length, (uint32_t)size, inode, offset};
    struct iovec parts[3] = {{&record, sizeof record}, {(void *)path, length}, {(void *)data, size}};
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    real(journal, parts, 3);
}

static uint64_t inode_of(int fd) {
    struct stat found;
    return fstat(fd, &found) ? 0 : found.st_ino;
}

static int opened(const char *path, int flags, mode_t mode) {
    int is = kind_of(path);
    if (is == OTHER) {
        int fd = real_open(path, flags, mode);
        if (fd >= 0 && fd < MOST) kinds[fd] = OTHER;
        return fd;
    }
    pthread_mutex_lock(&turn);
    int fd = -1;
    if (!fails("open", path)) {
        int was_there = access(path, F_OK) == 0;
        fd = real_open(path, flags, mode);
        int error = errno;
        if (fd >= 0 && fd < MOST) {
            kinds[fd] = (char)is;
            snprintf(names[fd], sizeof names[fd], "%s", path);
            if (is == A_FILE && !was_there) note('c', path, inode_of(fd), 0, NULL, 0);
            if (is == A_FILE && was_there && (flags & O_TRUNC)) note('t', NULL, inode_of(fd), 0, NULL, 0);
        }
        errno = error;
    }
    pthread_mutex_unlock(&turn);
    return fd;
}

#define OPEN(name)                                     \
    int name(const char *path, int flags, ...) {       \
        mode_t mode = 0;                               \
        if (flags & (O_CREAT | __O_TMPFILE)) {         \
            va_list rest;                              \
            va_start(rest, flags);                     \
            mode = va_arg(rest, mode_t);               \
            va_end(rest);                              \
        }                                              \
        return opened(path, flags, mode);              \
    }
OPEN(open)
OPEN(open64)

int close(int fd) {
    REAL(int, "close", int);
    if (fd >= 0 && fd < MOST) kinds[fd] = OTHER;
    return real(fd);
}

/* A disk that is full takes the beginning of what is written. */
static ssize_t part_of(int fd, const void *data, size_t size) {
    return errno == ENOSPC && size > 1 && !getenv("DISK_STICKY") ? real_write(fd, data, size / 2) : -1;
}

ssize_t write(int fd, const void *data, size_t size) {
    if (kind(fd) == OTHER) return real_write(fd, data, size);
    pthread_mutex_lock(&turn);
    ssize_t done;
    off_t offset = lseek(fd, 0, SEEK_CUR);
    if (fails("write", names[fd])) {
        int error = errno;
        done = part_of(fd, data, size);
        errno = error;
    } else {
        done = real_write(fd, data, size);
    }
    int error = errno;
    if (done > 0 && kind(fd) == A_FILE) note('w', NULL, inode_of(fd), (uint64_t)offset, data, (size_t)done);
    errno = error;
    pthread_mutex_unlock(&turn);
    return done;
}

static ssize_t written_at(int fd, const void *data, size_t size, off64_t offset) {
    REAL(ssize_t, "pwrite64", int, const void *, size_t, off64_t);
    if (kind(fd) == OTHER) return real(fd, data, size, offset);
    pthread_mutex_lock(&turn);
    ssize_t done = fails("pwrite", names[fd]) ? -1 : real(fd, data, size, offset);
    int error = errno;
    if (done > 0 && kind(fd) == A_FILE) note('w', NULL, inode_of(fd), (uint64_t)offset, data, (size_t)done);
    errno = error;
    pthread_mutex_unlock(&turn);
    return done;
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) { return written_at(fd, data, size, offset); }
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) { return written_at(fd, data, size, offset); }

static int truncated(int fd, off64_t size) {
    REAL(int, "ftruncate64", int, off64_t);
    if (kind(fd) == OTHER) return real(fd, size);
    pthread_mutex_lock(&turn);
    int done = fails("ftruncate", names[fd]) ? -1 : real(fd, size);
    int error = errno;
    if (!done && kind(fd) == A_FILE) note('t', NULL, inode_of(fd), (uint64_t)size, NULL, 0);
    errno = error;
    pthread_mutex_unlock(&turn);
    return done;
}
int ftruncate(int fd, off_t size) { return truncated(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncated(fd, size); }

static int synced(int fd, const char *what) {
    if (kind(fd) == OTHER) return 0;
    pthread_mutex_lock(&turn);
    int done = fails(what, names[fd]) ? -1 : 0;
    int error = errno;
    /* Nothing has to wait for a real disk: whether it was synchronised is in the journal. */
    if (!done && kind(fd) == A_FILE) note('s', NULL, inode_of(fd), 0, NULL, 0);
    if (!done && kind(fd) == A_FOLDER) note('d', names[fd], 0, 0, NULL, 0);
    errno = error;
    pthread_mutex_unlock(&turn);
    return done;
}
int fsync(int fd) { return synced(fd, "fsync"); }
int fdatasync(int fd) { return synced(fd, "fdatasync"); }

int rename(const char *from, const char *to) {
    REAL(int, "rename", const char *, const char *);
    if (kind_of(from) == OTHER && kind_of(to) == OTHER) return real(from, to);
    pthread_mutex_lock(&turn);
    int done = fails("rename", to) ? -1 : real(from, to);
    int error = errno;
    char both[1024];
    snprintf(both, sizeof both, "%s\n%s", from, to);
    if (!done) note('r', both, 0, 0, NULL, 0);
    errno = error;
    pthread_mutex_unlock(&turn);
    return done;
}

int unlink(const char *path) {
    REAL(int, "unlink", const char *);
    int is = kind_of(path);
    if (is == OTHER) return real(path);
    pthread_mutex_lock(&turn);
    int done = fails("unlink", path) ? -1 : real(path);
    int error = errno;
    if (!done && is == A_FILE) note('u', path, 0, 0, NULL, 0);
    errno = error;
    pthread_mutex_unlock(&turn);
    return done;
}

int mkdir(const char *path, mode_t mode) {
    REAL(int, "mkdir", const char *, mode_t);
    if (kind_of(path) == OTHER) return real(path, mode);
    pthread_mutex_lock(&turn);
    int done = fails("mkdir", path) ? -1 : real(path, mode);
    int error = errno;
    if (!done) note('m', path, 0, 0, NULL, 0);
    errno = error;
    pthread_mutex_unlock(&turn);
    return done;
}
