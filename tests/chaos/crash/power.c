/* Keeps what a power cut would leave, beside a directory that a process writes into.
 *
 * Preloaded into the process.  POWER_ROOT is the directory, POWER_DISK where is kept:
 *   inodes/N  the content of inode N when it was last synced
 *   dirs/N    the entries of directory N when it was last synced, a line each: inode, kind, name
 *   keep/N    inode N, as long as a name of it was taken away: so no other file gets its number
 * What was never synced is not there, and would be lost.  Nothing is really synced: the machine
 * stays on.  Without POWER_ROOT nothing is done.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PATH (PATH_MAX + 64)

static int inside(const char *path) {
    const char *root = getenv("POWER_ROOT");
    size_t length = root ? strlen(root) : 0;
    return length && !strncmp(path, root, length) && (path[length] == '/' || !path[length]);
}

static void place(char *out, const char *kind, unsigned long inode, const char *end) {
    snprintf(out, PATH, "%s/%s/%lu%s", getenv("POWER_DISK"), kind, inode, end);
}

static void fail(const char *what) {
    perror(what);
    abort();
}

static void keep_file(const char *open_file, unsigned long inode) {
    char draft[PATH], kept[PATH], buffer[65536];
    ssize_t got;
    place(draft, "inodes", inode, ".draft");
    place(kept, "inodes", inode, "");
    int from = open(open_file, O_RDONLY | O_CLOEXEC);
    int to = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (from < 0 || to < 0) fail(open_file);
    while ((got = read(from, buffer, sizeof buffer)) > 0)
        if (write(to, buffer, got) != got) fail(draft);
    close(from);
    close(to);
    if (syscall(SYS_renameat2, AT_FDCWD, draft, AT_FDCWD, kept, 0)) fail(kept);
}

static void keep_entries(const char *path, unsigned long inode) {
    char draft[PATH], kept[PATH];
    struct dirent *entry;
    place(draft, "dirs", inode, ".draft");
    place(kept, "dirs", inode, "");
    DIR *directory = opendir(path);
    FILE *to = fopen(draft, "w");
    if (!directory || !to) fail(path);
    while ((entry = readdir(directory)))
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
            fprintf(to, "%lu %c %s\n", (unsigned long)entry->d_ino,
                    entry->d_type == DT_DIR ? 'd' : 'f', entry->d_name);
    closedir(directory);
    fclose(to);
    if (syscall(SYS_renameat2, AT_FDCWD, draft, AT_FDCWD, kept, 0)) fail(kept);
}

static int synced(int descriptor, const char *name) {
    char link[64], path[PATH_MAX];
    struct stat status;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length > 0 && !fstat(descriptor, &status)) {
        path[length] = 0;
        if (inside(path)) {
            if (S_ISDIR(status.st_mode)) keep_entries(path, status.st_ino);
            else keep_file(link, status.st_ino);
            return 0;
        }
    }
    int (*next)(int) = (int (*)(int))dlsym(RTLD_NEXT, name);
    return next(descriptor);
}

int fsync(int descriptor) { return synced(descriptor, "fsync"); }
int fdatasync(int descriptor) { return synced(descriptor, "fdatasync"); }

/* A name is about to go: the inode stays, so that its number is not another file's. */
static void keep_inode(int folder, const char *path) {
    char full[PATH_MAX], kept[PATH];
    struct stat status;
    if (fstatat(folder, path, &status, AT_SYMLINK_NOFOLLOW) || !S_ISREG(status.st_mode)) return;
    if (folder != AT_FDCWD || !realpath(path, full) || !inside(full)) return;
    place(kept, "keep", status.st_ino, "");
    syscall(SYS_linkat, folder, path, AT_FDCWD, kept, 0);
}

int unlink(const char *path) {
    keep_inode(AT_FDCWD, path);
    return syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int rename(const char *from, const char *to) {
    keep_inode(AT_FDCWD, to);
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
}
