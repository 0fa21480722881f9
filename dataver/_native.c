/* Many small files with few crossings between Python and the kernel: folders listed, files read and hashed, files
 * hashed and written, all in batches and without the interpreter's lock. dataver/source/batch.py and dataver/targets.py say what each
 * function promises, and have a version of each in Python that gives the same. Built against the stable ABI, so that one build serves every
 * Python from 3.11 on; where it cannot be built, nothing but speed is lost. */

#define _GNU_SOURCE 1 /* O_TMPFILE, O_PATH */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "_blake3.h"

#ifdef __APPLE__
#define MTIME(s) ((s)->st_mtimespec)
#define CTIME(s) ((s)->st_ctimespec)
#else
#define MTIME(s) ((s)->st_mtim)
#define CTIME(s) ((s)->st_ctim)
#endif
#ifdef O_PATH
#define FOLDER_FLAGS (O_PATH | O_DIRECTORY | O_CLOEXEC)
#else
#define FOLDER_FLAGS (O_RDONLY | O_DIRECTORY | O_CLOEXEC)
#endif
#define FILE_FLAGS (O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)

/* As dataver.source.reading: what lies deeper is opened step by step. */
#define CALL_PATH_BYTES_MAX 700
/* As dataver.source.columns: kind and executable bit, size, mtime, ctime, inode, little-endian. */
#define STAMP_BYTES 33
#define STAMP_EXECUTABLE 0x10
#define KIND_FILE 0
/* As dataver.source.batch. */
#define READ 1
#define NOISY 2
/* As dataver.compression. */
#define PROBE_BYTES 512
#define PROBE_SIZE_MIN 1024
#define PROBE_VALUES_MIN 200

static int64_t nanoseconds(struct timespec at) {
    /* Beyond 64 bits: the last moment there is, which lies in the future and is never trusted. */
    if (at.tv_sec > INT64_MAX / 1000000000 - 1 || at.tv_sec < INT64_MIN / 1000000000 + 1)
        return INT64_MAX;
    return (int64_t)at.tv_sec * 1000000000 + at.tv_nsec;
}

static void put_number(unsigned char *target, uint64_t number) {
    for (int at = 0; at < 8; at++)
        target[at] = (unsigned char)(number >> (8 * at));
}

static void put_stamp(unsigned char *stamp, const struct stat *found) {
    stamp[0] = KIND_FILE | (found->st_mode & S_IXUSR ? STAMP_EXECUTABLE : 0);
    put_number(stamp + 1, (uint64_t)found->st_size);
    put_number(stamp + 9, (uint64_t)nanoseconds(MTIME(found)));
    put_number(stamp + 17, (uint64_t)nanoseconds(CTIME(found)));
    put_number(stamp + 25, (uint64_t)found->st_ino);
}

/* Reading */

typedef struct {
    const char *path;
    Py_ssize_t path_bytes;
    int64_t size, mtime_ns, ctime_ns;
    uint64_t inode;
    int executable, wanted;
} Wanted;

static int parse_wanted(PyObject *file, Wanted *wanted) {
    char *path;
    if (!PyTuple_Check(file) || PyTuple_Size(file) != 7) {
        PyErr_SetString(PyExc_TypeError, "a file is a tuple of seven");
        return -1;
    }
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(file, 0), &path, &wanted->path_bytes) < 0)
        return -1;
    wanted->path = path;
    long kind = PyLong_AsLong(PyTuple_GetItem(file, 1));
    wanted->executable = PyObject_IsTrue(PyTuple_GetItem(file, 2));
    wanted->size = PyLong_AsLongLong(PyTuple_GetItem(file, 3));
    wanted->mtime_ns = PyLong_AsLongLong(PyTuple_GetItem(file, 4));
    wanted->ctime_ns = PyLong_AsLongLong(PyTuple_GetItem(file, 5));
    wanted->inode = PyLong_AsUnsignedLongLong(PyTuple_GetItem(file, 6));
    if (PyErr_Occurred()) {
        /* A number beyond 64 bits is no stamp that could be found again. */
        if (!PyErr_ExceptionMatches(PyExc_OverflowError))
            return -1;
        PyErr_Clear();
        wanted->wanted = 0;
        return 0;
    }
    wanted->wanted = kind == KIND_FILE && wanted->size >= 0 && strlen(path) == (size_t)wanted->path_bytes;
    return 0;
}

static int is_as_listed(const struct stat *found, const Wanted *wanted) {
    return S_ISREG(found->st_mode) && found->st_size == wanted->size &&
           nanoseconds(CTIME(found)) == wanted->ctime_ns && nanoseconds(MTIME(found)) == wanted->mtime_ns &&
           found->st_ino == wanted->inode && !(found->st_mode & S_IXUSR) == !wanted->executable;
}

static int read_one(int folder, const char *name, const Wanted *wanted, unsigned char *target) {
    struct stat found;
    int64_t have = 0;
    int fd = openat(folder, name, FILE_FLAGS);
    if (fd < 0)
        return 0;
    int good = fstat(fd, &found) == 0 && is_as_listed(&found, wanted);
    while (good && have < wanted->size) {
        ssize_t count = read(fd, target + have, wanted->size - have);
        good = count > 0;
        have += count;
    }
    good = good && fstat(fd, &found) == 0 && is_as_listed(&found, wanted);
    close(fd);
    return good;
}

static int looks_incompressible(const unsigned char *data, int64_t bytes) {
    unsigned char seen[256] = {0};
    int values = 0;
    if (bytes < PROBE_SIZE_MIN)
        return 0;
    data += (bytes - PROBE_BYTES) / 2;
    for (int at = 0; at < PROBE_BYTES; at++)
        seen[data[at]] = 1;
    for (int value = 0; value < 256; value++)
        values += seen[value];
    return values >= PROBE_VALUES_MIN;
}

static void read_all(const char *prefix, Py_ssize_t prefix_bytes, const Wanted *files, Py_ssize_t count,
                     unsigned char *buffer, Py_ssize_t buffer_bytes, char *done, unsigned char *digests) {
    char full[CALL_PATH_BYTES_MAX + 1];
    const char *folder = NULL;
    Py_ssize_t folder_bytes = 0, end = 0;
    int fd = -1;
    if (prefix_bytes <= CALL_PATH_BYTES_MAX)
        memcpy(full, prefix, prefix_bytes);
    for (Py_ssize_t number = 0; number < count; number++) {
        const Wanted *file = &files[number];
        done[number] = 0;
        memset(digests + number * BLAKE3_BYTES, 0, BLAKE3_BYTES);
        if (!file->wanted || file->size > buffer_bytes - end || prefix_bytes + file->path_bytes > CALL_PATH_BYTES_MAX)
            continue;
        const char *slash = strrchr(file->path, '/');
        const char *name = slash ? slash + 1 : file->path;
        Py_ssize_t above = name - file->path;
        if (!folder || above != folder_bytes || memcmp(folder, file->path, above) != 0) {
            if (fd >= 0)
                close(fd);
            memcpy(full + prefix_bytes, file->path, above);
            full[prefix_bytes + above] = 0;
            fd = open(full, FOLDER_FLAGS);
            folder = file->path;
            folder_bytes = above;
        }
        if (fd >= 0 && read_one(fd, name, file, buffer + end)) {
            done[number] = looks_incompressible(buffer + end, file->size) ? READ | NOISY : READ;
            blake3(buffer + end, (size_t)file->size, digests + number * BLAKE3_BYTES);
            end += file->size;
        }
    }
    if (fd >= 0)
        close(fd);
}

PyDoc_STRVAR(read_files_doc, "read_files(prefix, files, buffer, /)\n--\n\nSee `dataver.source.batch`.");

static PyObject *read_files(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *prefix;
    Py_ssize_t prefix_bytes;
    PyObject *list, *files = NULL, *flags = NULL, *digests = NULL, *result = NULL;
    Py_buffer buffer;
    Wanted *wanted = NULL;
    if (!PyArg_ParseTuple(args, "y#Ow*:read_files", &prefix, &prefix_bytes, &list, &buffer))
        return NULL;
    /* Of our own: the list could change while others run. */
    files = PySequence_Tuple(list);
    if (!files)
        goto end;
    Py_ssize_t count = PyTuple_Size(files);
    wanted = calloc(count ? count : 1, sizeof(Wanted));
    flags = PyBytes_FromStringAndSize(NULL, count);
    digests = PyBytes_FromStringAndSize(NULL, count * BLAKE3_BYTES);
    if (!wanted || !flags || !digests) {
        PyErr_NoMemory();
        goto end;
    }
    for (Py_ssize_t number = 0; number < count; number++)
        if (parse_wanted(PyTuple_GetItem(files, number), &wanted[number]) < 0)
            goto end;
    char *done = PyBytes_AsString(flags);
    unsigned char *hashed = (unsigned char *)PyBytes_AsString(digests);
    Py_BEGIN_ALLOW_THREADS
    read_all(prefix, prefix_bytes, wanted, count, buffer.buf, buffer.len, done, hashed);
    Py_END_ALLOW_THREADS
    result = PyTuple_Pack(2, flags, digests);
end:
    free(wanted);
    Py_XDECREF(files);
    Py_XDECREF(flags);
    Py_XDECREF(digests);
    PyBuffer_Release(&buffer);
    return result;
}

PyDoc_STRVAR(hash_doc, "blake3(data, /)\n--\n\nThe plain BLAKE3-256 of a buffer.");

static PyObject *hash(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer data;
    if (!PyArg_ParseTuple(args, "y*:blake3", &data))
        return NULL;
    PyObject *digest = PyBytes_FromStringAndSize(NULL, BLAKE3_BYTES);
    if (digest)
        blake3(data.buf, (size_t)data.len, (unsigned char *)PyBytes_AsString(digest));
    PyBuffer_Release(&data);
    return digest;
}

/* Listing */

typedef struct {
    char *name;
    int regular, folder;
    unsigned char stamp[STAMP_BYTES];
} Listed;

typedef struct {
    Listed *entries;
    size_t count, room;
} Listing;

static int by_name(const void *a, const void *b) {
    return strcmp(((const Listed *)a)->name, ((const Listed *)b)->name);
}

static void clear(Listing *listing) {
    for (size_t at = 0; at < listing->count; at++)
        free(listing->entries[at].name);
    free(listing->entries);
}

static Listed *append(Listing *listing, const char *name) {
    if (listing->count == listing->room) {
        size_t room = listing->room ? 2 * listing->room : 256;
        Listed *grown = realloc(listing->entries, room * sizeof(Listed));
        if (!grown)
            return NULL;
        listing->entries = grown;
        listing->room = room;
    }
    Listed *listed = &listing->entries[listing->count];
    memset(listed, 0, sizeof *listed);
    listed->name = strdup(name);
    if (!listed->name)
        return NULL;
    listing->count++;
    return listed;
}

/* 0, or the number of the error. */
static int list_all(int fd, Listing *listing) {
    int copy = dup(fd), error = 0;
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    if (!folder) {
        error = errno;
        if (copy >= 0)
            close(copy);
        return error;
    }
    rewinddir(folder);
    for (;;) {
        struct stat found;
        errno = 0;
        struct dirent *entry = readdir(folder);
        if (!entry) {
            error = errno;
            break;
        }
        const char *name = entry->d_name;
        if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
            continue;
        int is_folder = entry->d_type == DT_DIR;
        if (!is_folder && fstatat(fd, name, &found, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT)
                continue;
            error = errno;
            break;
        }
        Listed *listed = append(listing, name);
        if (!listed) {
            error = ENOMEM;
            break;
        }
        listed->folder = is_folder || S_ISDIR(found.st_mode);
        if (listed->folder || !S_ISREG(found.st_mode))
            continue;
        listed->regular = 1;
        put_stamp(listed->stamp, &found);
    }
    closedir(folder);
    if (!error && listing->count)
        qsort(listing->entries, listing->count, sizeof(Listed), by_name);
    return error;
}

static int append_new(PyObject *list, PyObject *item) {
    int status = item ? PyList_Append(list, item) : -1;
    Py_XDECREF(item);
    return status;
}

PyDoc_STRVAR(list_folder_doc, "list_folder(descriptor, /)\n--\n\nSee `dataver.source.batch`.");

static PyObject *list_folder(PyObject *Py_UNUSED(module), PyObject *args) {
    int fd, error;
    Listing listing = {NULL, 0, 0};
    if (!PyArg_ParseTuple(args, "i:list_folder", &fd))
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    error = list_all(fd, &listing);
    Py_END_ALLOW_THREADS
    PyObject *result = NULL, *names = PyList_New(0), *stamps = PyList_New(0);
    PyObject *folders = PyList_New(0), *others = PyList_New(0);
    if (error) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        goto end;
    }
    if (!names || !stamps || !folders || !others)
        goto end;
    for (size_t at = 0; at < listing.count; at++) {
        Listed *listed = &listing.entries[at];
        PyObject *list = listed->regular ? names : listed->folder ? folders : others;
        if (append_new(list, PyBytes_FromString(listed->name)) < 0)
            goto end;
        if (listed->regular && append_new(stamps, PyBytes_FromStringAndSize((char *)listed->stamp, STAMP_BYTES)) < 0)
            goto end;
    }
    result = PyTuple_Pack(4, names, stamps, folders, others);
end:
    clear(&listing);
    Py_XDECREF(names);
    Py_XDECREF(stamps);
    Py_XDECREF(folders);
    Py_XDECREF(others);
    return result;
}

/* Writing */

#define CREATE_FLAGS (O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC)
#define PART_NAME_BYTES 256
#define OTHER_DIGEST -1

typedef struct {
    const char *name, *digest;
    int executable;
    Py_buffer data;
    unsigned char stamp[STAMP_BYTES];
} Written;

static int write_fully(int fd, const char *data, Py_ssize_t bytes) {
    while (bytes > 0) {
        ssize_t count = write(fd, data, bytes);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return count < 0 ? errno : EIO;
        data += count;
        bytes -= count;
    }
    return 0;
}

/* Begin a file that has no name yet, or, where *unnamed says that this system has none, `part` for one. */
static int create(int folder, const char *part, int executable, int *unnamed) {
    int fd, mode = executable ? 0777 : 0666;
#ifdef O_TMPFILE
    if (*unnamed) {
        do
            fd = openat(folder, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, mode);
        while (fd < 0 && errno == EINTR);
        if (fd >= 0)
            return fd;
    }
#endif
    *unnamed = 0;
    do
        fd = openat(folder, part, CREATE_FLAGS, mode);
    while (fd < 0 && errno == EINTR);
    return fd;
}

/* Give a file without a name one: costs a quarter less than another name first. 0, or -1 with errno. */
static int name_file(int fd, int folder, const char *name) {
    char here[32];
    snprintf(here, sizeof here, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, here, folder, name, AT_SYMLINK_FOLLOW);
}

/* 0, the number of an error, or OTHER_DIGEST. *unnamed: whether to try files without a name. */
static int write_one(int folder, const char *part, Written *file, int *unnamed) {
    unsigned char digest[BLAKE3_BYTES];
    struct stat found;
    blake3(file->data.buf, (size_t)file->data.len, digest);
    if (memcmp(digest, file->digest, BLAKE3_BYTES) != 0)
        return OTHER_DIGEST;
    int fd = create(folder, part, file->executable, unnamed);
    if (fd < 0)
        return errno;
    int has_part = !*unnamed, placed = 0;
    int error = write_fully(fd, file->data.buf, file->data.len);
    if (!error && !has_part) {
        placed = name_file(fd, folder, file->name) == 0;
        /* Something is there, to be replaced; or there is no /proc, and the named way is left. */
        if (!placed && errno == EEXIST)
            has_part = name_file(fd, folder, part) == 0;
        if (!placed && !has_part) {
            close(fd);
            *unnamed = 0;
            return write_one(folder, part, file, unnamed);
        }
    }
    if (!error && !placed) {
        placed = renameat(folder, part, folder, file->name) == 0;
        if (!placed)
            error = errno;
    }
    /* After it took its place, which changes the time of the last change. */
    if (!error && fstat(fd, &found) < 0)
        error = errno;
    if (close(fd) < 0 && !error)
        error = errno;
    if (!error)
        put_stamp(file->stamp, &found);
    else if (has_part && !placed)
        unlinkat(folder, part, 0);
    return error;
}

static int write_all(int folder, const char *part, Written *files, Py_ssize_t count, int unnamed, Py_ssize_t *done) {
    char name[PART_NAME_BYTES];
    for (*done = 0; *done < count; ++*done) {
        snprintf(name, sizeof name, "%s-%zd", part, *done);
        int error = write_one(folder, name, &files[*done], &unnamed);
        if (error)
            return error;
    }
    return 0;
}

static int parse_written(PyObject *file, Written *written) {
    char *name, *digest;
    Py_ssize_t name_bytes, digest_bytes;
    if (!PyTuple_Check(file) || PyTuple_Size(file) != 4) {
        PyErr_SetString(PyExc_TypeError, "a file is a tuple of four");
        return -1;
    }
    if (PyBytes_AsStringAndSize(PyTuple_GetItem(file, 0), &name, &name_bytes) < 0 ||
        PyBytes_AsStringAndSize(PyTuple_GetItem(file, 2), &digest, &digest_bytes) < 0)
        return -1;
    written->name = name;
    written->executable = PyObject_IsTrue(PyTuple_GetItem(file, 1));
    written->digest = digest;
    if (written->executable < 0)
        return -1;
    if (digest_bytes != BLAKE3_BYTES || strlen(name) != (size_t)name_bytes || strchr(name, '/')) {
        PyErr_SetString(PyExc_ValueError, "a file has a name in its folder and a digest");
        return -1;
    }
    return PyObject_GetBuffer(PyTuple_GetItem(file, 3), &written->data, PyBUF_SIMPLE);
}

PyDoc_STRVAR(write_files_doc, "write_files(folder, part, files, unnamed=True, /)\n--\n\nSee `dataver.targets`.");

static PyObject *write_files(PyObject *Py_UNUSED(module), PyObject *args) {
    int folder, error, unnamed = 1;
    const char *part;
    Py_ssize_t part_bytes, parsed = 0, done;
    PyObject *list, *files, *stamps = NULL, *result = NULL;
    if (!PyArg_ParseTuple(args, "iy#O|p:write_files", &folder, &part, &part_bytes, &list, &unnamed))
        return NULL;
    files = PySequence_Tuple(list);
    if (!files)
        return NULL;
    Py_ssize_t count = PyTuple_Size(files);
    Written *written = calloc(count ? count : 1, sizeof(Written));
    stamps = PyList_New(0);
    if (!written || !stamps || part_bytes > PART_NAME_BYTES - 24) {
        PyErr_NoMemory();
        goto end;
    }
    for (; parsed < count; parsed++)
        if (parse_written(PyTuple_GetItem(files, parsed), &written[parsed]) < 0)
            goto end;
    Py_BEGIN_ALLOW_THREADS
    error = write_all(folder, part, written, count, unnamed, &done);
    Py_END_ALLOW_THREADS
    for (Py_ssize_t number = 0; number < done; number++)
        if (append_new(stamps, PyBytes_FromStringAndSize((char *)written[number].stamp, STAMP_BYTES)) < 0)
            goto end;
    result = Py_BuildValue("(Oi)", stamps, error);
end:
    for (Py_ssize_t number = 0; number < parsed; number++)
        PyBuffer_Release(&written[number].data);
    free(written);
    Py_DECREF(files);
    Py_XDECREF(stamps);
    return result;
}

static PyMethodDef methods[] = {
    {"write_files", write_files, METH_VARARGS, write_files_doc},
    {"blake3", hash, METH_VARARGS, hash_doc},
    {"list_folder", list_folder, METH_VARARGS, list_folder_doc},
    {"read_files", read_files, METH_VARARGS, read_files_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "dataver._native", .m_size = 0, .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
