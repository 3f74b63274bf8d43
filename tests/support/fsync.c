/* An LD_PRELOAD shim between the server and the disk: it notes every sync, and can hold, fail or fill on purpose.
 *
 * SHIM_FOLDER names a folder. Each fsync or fdatasync that ended well appends the synced file's path and a newline to
 * `syncs` there. While a file named `hold` exists, syncs wait; a waiting one makes a file named `held`. While `fail`
 * exists, syncs of the database answer EIO; while `full` exists, writes to the database answer ENOSPC.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

static int in_folder(char *path, size_t size, const char *name) {
    const char *folder = getenv("SHIM_FOLDER");
    return folder != NULL && snprintf(path, size, "%s/%s", folder, name) < (int)size;
}

static int exists(const char *name) {
    char path[4096];
    return in_folder(path, sizeof path, name) && access(path, F_OK) == 0;
}

static void append(const char *name, const char *text, size_t length) {
    char path[4096];
    if (!in_folder(path, sizeof path, name)) return;
    int file = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (file < 0) return;
    (void)!syscall(SYS_write, file, text, length);
    syscall(SYS_close, file);
}

/* The path behind a descriptor, ended by a newline; its length, 0 when there is none. */
static size_t name_of(int fd, char *name, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, size - 2);
    if (length <= 0) return 0;
    name[length] = '\n';
    name[length + 1] = '\0';
    return (size_t)length + 1;
}

static int is_database(int fd) {
    char name[4096];
    return name_of(fd, name, sizeof name) > 0 && strstr(name, "/cairn.db") != NULL;
}

static int synced(int fd, long call) {
    int saved = errno;
    if (exists("hold")) {
        append("held", "", 0);
        struct timespec moment = {0, 2 * 1000 * 1000};
        while (exists("hold")) nanosleep(&moment, NULL);
    }
    if (exists("fail") && is_database(fd)) {
        errno = EIO;
        return -1;
    }
    errno = saved;
    int result = (int)syscall(call, fd);
    if (result == 0) {
        char name[4096];
        size_t length = name_of(fd, name, sizeof name);
        append("syncs", name, length);
        errno = saved;
    }
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

static int no_room(int fd) {
    int saved = errno;
    int full = exists("full") && is_database(fd);
    errno = full ? ENOSPC : saved;
    return full;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return no_room(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}
ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return no_room(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}
ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at) {
    return no_room(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}
