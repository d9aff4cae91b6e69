/* Preloaded into a process: the n-th change of a file in DISK_DIRECTORY fails, and every change is traced.

   DISK_FAIL_AT    the number of the change, from 1; none fails without it
   DISK_FAIL_WITH  eio, enospc, or torn: half of a write reaches the file before EIO
   DISK_FAIL_ON    if set, all later ones fail too
   DISK_HIT        this file is made when one fails
   DISK_TRACE      changes that took place are appended here: kind, name, offset, length as a line; a write's bytes follow

   Changes of the reserve file and of the answers that a test notes are not counted. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#define FILES 1024
static char names[FILES][64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static long count;
static int trace = -1;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static int (*real_open)(const char *, int, ...);
static int (*real_close)(int);
static int (*real_fsync)(int);
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_unlink)(const char *);
static int (*real_rename)(const char *, const char *);

__attribute__((constructor)) static void begin(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_open = dlsym(RTLD_NEXT, "open64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_unlink = dlsym(RTLD_NEXT, "unlink");
    real_rename = dlsym(RTLD_NEXT, "rename");
    if (getenv("DISK_TRACE")) trace = real_open(getenv("DISK_TRACE"), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

/* The name of a file in the directory, "." for the directory itself, 0 for any other path. */
static const char *name_of(const char *path) {
    const char *directory = getenv("DISK_DIRECTORY");
    if (!directory || !path || !real_open) return 0;
    size_t length = strlen(directory);
    if (strncmp(path, directory, length)) return 0;
    if (!path[length] || !strcmp(path + length, "/") || !strcmp(path + length, "/.")) return ".";
    return path[length] == '/' ? path + length + 1 : 0;
}

static const char *name_at(int fd) { return fd >= 0 && fd < FILES && names[fd][0] ? names[fd] : 0; }

static void note(char kind, const char *name, long offset, long length, const void *bytes) {
    if (trace < 0) return;
    char line[160];
    int wrote = snprintf(line, sizeof line, "%c %s %ld %ld\n", kind, name, offset, length);
    if (real_write(trace, line, wrote) < 0) abort();
    if (bytes && real_write(trace, bytes, length) != length) abort();
}

/* 0 to go on, or the error with which this change fails; negative if half of it is done first. */
static int verdict(const char *name) {
    const char *at = getenv("DISK_FAIL_AT"), *with = getenv("DISK_FAIL_WITH");
    if (!at || !with || !strcmp(name, "reserve") || !strcmp(name, "answers")) return 0;
    count++;
    if (count < atol(at) || (count > atol(at) && !getenv("DISK_FAIL_ON"))) return 0;
    if (getenv("DISK_HIT")) real_close(real_open(getenv("DISK_HIT"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    return !strcmp(with, "enospc") ? ENOSPC : !strcmp(with, "torn") ? -EIO : EIO;
}

static int refuse(int error) {
    pthread_mutex_unlock(&lock);
    errno = error < 0 ? -error : error;
    return -1;
}

static int opened(const char *path, int flags, mode_t mode) {
    const char *name = name_of(path);
    if (!name) return real_open(path, flags, mode);
    pthread_mutex_lock(&lock);
    int changes = (flags & (O_CREAT | O_TRUNC)) && (flags & O_ACCMODE) != O_RDONLY;
    int error = changes ? verdict(name) : 0;
    if (error) return refuse(error);
    int was = access(path, F_OK);
    int fd = real_open(path, flags, mode);
    if (fd >= 0 && fd < FILES) snprintf(names[fd], sizeof names[fd], "%s", name);
    if (fd >= 0 && was) note('C', name, 0, 0, 0);
    if (fd >= 0 && (flags & O_TRUNC)) note('T', name, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return fd;
}

static mode_t mode_of(int flags, va_list more) { return flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; }

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return opened(path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    mode_t mode = mode_of(flags, more);
    va_end(more);
    return opened(path, flags, mode);
}

int close(int fd) {
    pthread_mutex_lock(&lock);
    if (fd >= 0 && fd < FILES) names[fd][0] = 0;
    pthread_mutex_unlock(&lock);
    return real_close(fd);
}

static ssize_t wrote(int fd, const void *bytes, size_t length, off_t offset, int seeks) {
    const char *name = name_at(fd);
    if (!name) return seeks ? real_write(fd, bytes, length) : real_pwrite(fd, bytes, length, offset);
    pthread_mutex_lock(&lock);
    int error = verdict(name);
    if (error > 0) return refuse(error);
    if (seeks) offset = lseek(fd, 0, SEEK_CUR);
    size_t part = error < 0 ? length / 2 : length;
    ssize_t done = seeks ? real_write(fd, bytes, part) : real_pwrite(fd, bytes, part, offset);
    if (done > 0) note('W', name, offset, done, bytes);
    if (error < 0) return refuse(error);
    pthread_mutex_unlock(&lock);
    return done;
}

ssize_t write(int fd, const void *bytes, size_t length) { return wrote(fd, bytes, length, 0, 1); }
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t offset) { return wrote(fd, bytes, length, offset, 0); }
ssize_t pwrite64(int fd, const void *bytes, size_t length, off_t offset) { return wrote(fd, bytes, length, offset, 0); }

static int synced(int fd, int (*sync)(int)) {
    const char *name = name_at(fd);
    if (!name) return sync(fd);
    pthread_mutex_lock(&lock);
    int error = verdict(name);
    if (error) return refuse(error);
    /* The disk of a test need not be waited for. */
    note('S', name, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int fd) { return synced(fd, real_fsync); }
int fdatasync(int fd) { return synced(fd, real_fdatasync); }

static int truncated(int fd, off_t length) {
    const char *name = name_at(fd);
    if (!name) return real_ftruncate(fd, length);
    pthread_mutex_lock(&lock);
    int error = verdict(name);
    if (error) return refuse(error);
    int done = real_ftruncate(fd, length);
    if (!done) note('T', name, length, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int fd, off_t length) { return truncated(fd, length); }
int ftruncate64(int fd, off_t length) { return truncated(fd, length); }

int unlink(const char *path) {
    const char *name = name_of(path);
    if (!name) return real_unlink(path);
    pthread_mutex_lock(&lock);
    int error = verdict(name);
    if (error) return refuse(error);
    int done = real_unlink(path);
    if (!done) note('U', name, 0, 0, 0);
    pthread_mutex_unlock(&lock);
    return done;
}

int rename(const char *from, const char *to) {
    const char *name = name_of(from), *other = name_of(to);
    if (!name || !other) return real_rename(from, to);
    pthread_mutex_lock(&lock);
    int error = verdict(name);
    if (error) return refuse(error);
    int done = real_rename(from, to);
    if (!done) {
        note('R', name, 0, strlen(other), other);
        /* It is open under its new name. */
        for (int fd = 0; fd < FILES; fd++)
            if (!strcmp(names[fd], name)) snprintf(names[fd], sizeof names[fd], "%s", other);
    }
    pthread_mutex_unlock(&lock);
    return done;
}
