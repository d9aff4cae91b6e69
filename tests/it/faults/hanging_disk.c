/* Preloaded into a receiver: while the file named by HANG_WHILE exists, a sync does not return. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int sync_late(long call, int file) {
    const char *hangs = getenv("HANG_WHILE");
    while (hangs && access(hangs, F_OK) == 0)
        usleep(20000);
    return (int)syscall(call, file);
}

int fsync(int file) { return sync_late(SYS_fsync, file); }
int fdatasync(int file) { return sync_late(SYS_fdatasync, file); }
