/* Much work in few calls: folders listed, files read and hashed, files hashed and written, chunks cut and hashed, keys sorted and
 * looked up, in batches and without the interpreter's lock. dataver/source/batch.py, dataver/targets.py, dataver/chunking/fastcdc.py,
 * dataver/format/segment.py and dataver/hashing.py say what each function promises, and have a version of each in Python that gives
 * the same. Built against the stable ABI, so that one build
 * serves every Python from 3.11 on; where it cannot be built, nothing but speed is lost. */

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
#define NOISE_VALUES_MIN 210
/* Files are hashed side by side while they are in the processor's cache. */
#define HASHED_TOGETHER_MAX 64
#define HASHED_TOGETHER_BYTES (256 << 10)

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

/* Python */

static int append_new(PyObject *list, PyObject *item) {
    int status = item ? PyList_Append(list, item) : -1;
    Py_XDECREF(item);
    return status;
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

/* How many values occur in PROBE_BYTES. */
static int values_in(const unsigned char *data) {
    unsigned char seen[256] = {0};
    int values = 0;
    for (int at = 0; at < PROBE_BYTES; at++)
        seen[data[at]] = 1;
    for (int value = 0; value < 256; value++)
        values += seen[value];
    return values;
}

static int looks_incompressible(const unsigned char *data, int64_t bytes) {
    return bytes >= PROBE_SIZE_MIN && values_in(data + (bytes - PROBE_BYTES) / 2) >= PROBE_VALUES_MIN;
}

/* Files that were read and not yet hashed. */
typedef struct {
    Input inputs[HASHED_TOGETHER_MAX];
    Py_ssize_t numbers[HASHED_TOGETHER_MAX];
    int count;
    size_t bytes;
} Unhashed;

static int hash_files(Unhashed *files, unsigned char *digests) {
    unsigned char found[HASHED_TOGETHER_MAX * BLAKE3_BYTES];
    if (blake3_many(files->inputs, files->count, found) < 0)
        return -1;
    for (int at = 0; at < files->count; at++)
        memcpy(digests + files->numbers[at] * BLAKE3_BYTES, found + at * BLAKE3_BYTES, BLAKE3_BYTES);
    files->count = 0;
    files->bytes = 0;
    return 0;
}

/* -1 where there is no memory. */
static int read_all(const char *prefix, Py_ssize_t prefix_bytes, const Wanted *files, Py_ssize_t count,
                    unsigned char *buffer, Py_ssize_t buffer_bytes, char *done, unsigned char *digests) {
    Unhashed unhashed = {.count = 0};
    int good = 1;
    char full[CALL_PATH_BYTES_MAX + 1];
    const char *folder = NULL;
    Py_ssize_t folder_bytes = 0, end = 0;
    int fd = -1;
    if (prefix_bytes <= CALL_PATH_BYTES_MAX)
        memcpy(full, prefix, prefix_bytes);
    memset(digests, 0, count * BLAKE3_BYTES);
    for (Py_ssize_t number = 0; good && number < count; number++) {
        const Wanted *file = &files[number];
        done[number] = 0;
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
            unhashed.inputs[unhashed.count] = (Input){buffer + end, (size_t)file->size};
            unhashed.numbers[unhashed.count++] = number;
            unhashed.bytes += file->size;
            end += file->size;
            if (unhashed.count == HASHED_TOGETHER_MAX || unhashed.bytes >= HASHED_TOGETHER_BYTES)
                good = hash_files(&unhashed, digests) == 0;
        }
    }
    if (fd >= 0)
        close(fd);
    return good ? hash_files(&unhashed, digests) : -1;
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
    int status;
    Py_BEGIN_ALLOW_THREADS
    status = read_all(prefix, prefix_bytes, wanted, count, buffer.buf, buffer.len, done, hashed);
    Py_END_ALLOW_THREADS
    result = status < 0 ? PyErr_NoMemory() : PyTuple_Pack(2, flags, digests);
end:
    free(wanted);
    Py_XDECREF(files);
    Py_XDECREF(flags);
    Py_XDECREF(digests);
    PyBuffer_Release(&buffer);
    return result;
}

/* Parts of one file */

typedef struct {
    off_t start;
    size_t bytes;
} Range;

static int read_range(int fd, off_t start, unsigned char *target, size_t bytes) {
    while (bytes) {
        ssize_t count = pread(fd, target, bytes, start);
        if (count < 0 && errno == EINTR)
            continue;
        if (count <= 0)
            return 0;
        target += count;
        start += count;
        bytes -= (size_t)count;
    }
    return 1;
}

static int read_ranges(const char *path, const Range *ranges, Py_ssize_t count, unsigned char *target, size_t bytes) {
    struct stat found;
    unsigned char *end = target + bytes;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return 0;
    int good = fstat(fd, &found) == 0 && S_ISREG(found.st_mode);
    for (Py_ssize_t at = 0; good && at < count; at++) {
        const Range *range = &ranges[at];
        good = range->bytes <= (size_t)(end - target) && read_range(fd, range->start, target, range->bytes);
        if (good)
            target += range->bytes;
    }
    close(fd);
    return good && target == end;
}

PyDoc_STRVAR(read_into_doc, "read_into(path, ranges, buffer, /)\n--\n\nSee `dataver.store.local`.");

static PyObject *read_into(PyObject *Py_UNUSED(module), PyObject *args) {
    const char *path;
    PyObject *list, *result = NULL;
    Py_buffer buffer;
    if (!PyArg_ParseTuple(args, "yOw*:read_into", &path, &list, &buffer))
        return NULL;
    /* Of our own: the list could change while others run. */
    PyObject *items = PySequence_Tuple(list);
    Py_ssize_t count = items ? PyTuple_Size(items) : 0;
    Range *ranges = calloc(count ? count : 1, sizeof(Range));
    if (!ranges)
        PyErr_NoMemory();
    for (Py_ssize_t at = 0; ranges && items && at < count; at++) {
        long long start, bytes;
        if (!PyArg_ParseTuple(PyTuple_GetItem(items, at), "LL:read_into", &start, &bytes))
            goto end;
        if (start < 0 || bytes < 0) {
            result = Py_NewRef(Py_False);
            goto end;
        }
        ranges[at] = (Range){(off_t)start, (size_t)bytes};
    }
    if (!PyErr_Occurred()) {
        int good;
        Py_BEGIN_ALLOW_THREADS
        good = read_ranges(path, ranges, count, buffer.buf, (size_t)buffer.len);
        Py_END_ALLOW_THREADS
        result = PyBool_FromLong(good);
    }
end:
    free(ranges);
    Py_XDECREF(items);
    PyBuffer_Release(&buffer);
    return result;
}

/* Chunks */

PyDoc_STRVAR(is_fast_doc, "is_fast(/)\n--\n\nWhether this processor has the vectors that `digests` is fast with.");

static PyObject *is_fast(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(nothing)) {
    return PyBool_FromLong(processor_here() != ANYWHERE);
}

PyDoc_STRVAR(digests_doc, "digests(buffers, /)\n--\n\nSee `dataver.hashing`.");

static PyObject *digests_of(PyObject *Py_UNUSED(module), PyObject *list) {
    PyObject *digests = NULL;
    Py_ssize_t taken = 0;
    int status;
    /* Of our own: the list could change while others run. */
    PyObject *buffers = PySequence_Tuple(list);
    if (!buffers)
        return NULL;
    Py_ssize_t count = PyTuple_Size(buffers);
    Py_buffer *views = calloc(count ? count : 1, sizeof(Py_buffer));
    Input *inputs = calloc(count ? count : 1, sizeof(Input));
    if (!views || !inputs) {
        PyErr_NoMemory();
        goto end;
    }
    for (; taken < count; taken++) {
        if (PyObject_GetBuffer(PyTuple_GetItem(buffers, taken), &views[taken], PyBUF_SIMPLE) < 0)
            goto end;
        inputs[taken] = (Input){views[taken].buf, (size_t)views[taken].len};
    }
    digests = PyBytes_FromStringAndSize(NULL, count * BLAKE3_BYTES);
    if (!digests)
        goto end;
    unsigned char *target = (unsigned char *)PyBytes_AsString(digests);
    Py_BEGIN_ALLOW_THREADS
    status = blake3_many(inputs, (size_t)count, target);
    Py_END_ALLOW_THREADS
    if (status < 0) {
        Py_CLEAR(digests);
        PyErr_NoMemory();
    }
end:
    while (taken)
        PyBuffer_Release(&views[--taken]);
    free(views);
    free(inputs);
    Py_DECREF(buffers);
    return digests;
}

PyDoc_STRVAR(is_noise_doc, "is_noise(data, /)\n--\n\nSee `dataver.compression`. Keeps the lock: it is over before others had it.");

static PyObject *is_noise(PyObject *Py_UNUSED(module), PyObject *data) {
    Py_buffer view;
    if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0)
        return NULL;
    const unsigned char *start = view.buf;
    Py_ssize_t rest = view.len - PROBE_BYTES;
    int noise = view.len >= 3 * PROBE_BYTES;
    for (int half = 0; noise && half <= 2; half++)
        noise = values_in(start + rest * half / 2) >= NOISE_VALUES_MIN;
    PyBuffer_Release(&view);
    return PyBool_FromLong(noise);
}

PyDoc_STRVAR(same_doc, "same(a, b, /)\n--\n\nWhether two buffers have the same bytes. Keeps the lock: it is over before others had it.");

static PyObject *same(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer a, b;
    if (!PyArg_ParseTuple(args, "y*y*:same", &a, &b))
        return NULL;
    int equal = a.len == b.len && (!a.len || memcmp(a.buf, b.buf, (size_t)a.len) == 0);
    PyBuffer_Release(&a);
    PyBuffer_Release(&b);
    return PyBool_FromLong(equal);
}

typedef struct {
    const uint64_t *gear;
    size_t bytes_min, bytes_average, bytes_max;
    uint64_t mask_strict, mask_loose;
} Cutting;

/* Where in [from, to) the rolling hash, of which *hash is that of what comes before, has no bit of the mask; `to` if nowhere. */
static size_t search(const unsigned char *data, size_t from, size_t to, const uint64_t *gear, uint64_t mask,
                     uint64_t *hash) {
    uint64_t rolled = *hash;
#pragma GCC unroll 8
    for (size_t at = from; at < to; at++) {
        rolled = 2 * rolled + gear[data[at]];
        if (!(rolled & mask))
            return at;
    }
    *hash = rolled;
    return to;
}

/* The length of the chunk that these bytes begin with. */
static size_t cut_one(const unsigned char *data, size_t bytes, const Cutting *cutting) {
    uint64_t hash = 0;
    if (bytes <= cutting->bytes_min)
        return bytes;
    if (bytes > cutting->bytes_max)
        bytes = cutting->bytes_max;
    /* Two bytes a turn in the kernel that is the reference: an odd one at the end is not looked at. */
    size_t even = bytes & ~(size_t)1, middle = cutting->bytes_average < even ? cutting->bytes_average : even;
    size_t cut = search(data, cutting->bytes_min, middle, cutting->gear, cutting->mask_strict, &hash);
    if (cut == middle)
        cut = search(data, middle, even, cutting->gear, cutting->mask_loose, &hash);
    return cut == even ? bytes : cut;
}

PyDoc_STRVAR(cut_doc, "cut(data, gear, bytes_min, bytes_average, bytes_max, mask_strict, mask_loose, /)\n--\n\n"
                      "See `dataver.chunking.fastcdc`.");

static PyObject *cut(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer data, gear;
    Py_ssize_t sizes[3], count = 0;
    unsigned long long masks[2];
    uint64_t table[256];
    PyObject *list = NULL;
    if (!PyArg_ParseTuple(args, "y*y*nnnKK:cut", &data, &gear, &sizes[0], &sizes[1], &sizes[2], &masks[0], &masks[1]))
        return NULL;
    size_t *ends = NULL;
    if (gear.len != sizeof table || sizes[0] < 1 || sizes[0] > sizes[1] || sizes[1] > sizes[2]) {
        PyErr_SetString(PyExc_ValueError, "a table of 256 numbers, and sizes that grow, are wanted");
        goto end;
    }
    memcpy(table, gear.buf, sizeof table);
    ends = malloc((data.len / sizes[0] + 1) * sizeof *ends);
    if (!ends) {
        PyErr_NoMemory();
        goto end;
    }
    const Cutting cutting = {table, sizes[0], sizes[1], sizes[2], masks[0], masks[1]};
    const unsigned char *bytes = data.buf;
    size_t size = (size_t)data.len;
    Py_BEGIN_ALLOW_THREADS
    for (size_t at = 0; at < size; ends[count++] = at)
        at += cut_one(bytes + at, size - at, &cutting);
    Py_END_ALLOW_THREADS
    list = PyList_New(0);
    for (Py_ssize_t number = 0; list && number < count; number++)
        if (append_new(list, PyLong_FromSize_t(ends[number])) < 0)
            Py_CLEAR(list);
end:
    free(ends);
    PyBuffer_Release(&data);
    PyBuffer_Release(&gear);
    return list;
}

/* Looking up */

#define KEY_BYTES 32

static uint32_t number_at(const unsigned char *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

/* The position of `digest` among sorted keys, -1 where it is not there, or -2 where the fan-out table is not in order. */
static Py_ssize_t find_one(const unsigned char *keys, Py_ssize_t count, const unsigned char *fanout, int bits,
                           const unsigned char *digest) {
    uint32_t first = (uint32_t)digest[0] << 24 | (uint32_t)digest[1] << 16 | (uint32_t)digest[2] << 8 | digest[3];
    uint32_t value = bits ? first >> (32 - bits) : 0;
    Py_ssize_t low = number_at(fanout + 4 * (size_t)value), high = number_at(fanout + 4 * (size_t)value + 4);
    if (low > high || high > count)
        return -2;
    while (low < high) {
        Py_ssize_t middle = low + (high - low) / 2;
        int order = memcmp(keys + middle * KEY_BYTES, digest, KEY_BYTES);
        if (!order)
            return middle;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return -1;
}

PyDoc_STRVAR(find_doc, "find(keys, fanout, digests, /)\n--\n\nSee `dataver.format.segment`.");

static PyObject *find(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer keys, fanout, digests;
    PyObject *list = NULL;
    int bits = 0;
    if (!PyArg_ParseTuple(args, "y*y*y*:find", &keys, &fanout, &digests))
        return NULL;
    Py_ssize_t count = digests.len / KEY_BYTES, *positions = malloc((count ? count : 1) * sizeof *positions);
    while (bits < 31 && ((Py_ssize_t)4 << bits) + 4 < fanout.len)
        bits++;
    if (!positions) {
        PyErr_NoMemory();
        goto end;
    }
    if (((Py_ssize_t)4 << bits) + 4 != fanout.len || keys.len % KEY_BYTES || digests.len % KEY_BYTES) {
        PyErr_SetString(PyExc_ValueError, "keys and digests have 32 bytes, a fan-out table a power of two and one");
        goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t number = 0; number < count; number++)
        positions[number] = find_one(keys.buf, keys.len / KEY_BYTES, fanout.buf, bits,
                                     (const unsigned char *)digests.buf + number * KEY_BYTES);
    Py_END_ALLOW_THREADS
    list = PyList_New(0);
    for (Py_ssize_t number = 0; list && number < count; number++)
        if (append_new(list, PyLong_FromSsize_t(positions[number])) < 0)
            Py_CLEAR(list);
end:
    free(positions);
    PyBuffer_Release(&keys);
    PyBuffer_Release(&fanout);
    PyBuffer_Release(&digests);
    return list;
}

#define ROW_BYTES 12
#define FRAME_BYTES 20

PyDoc_STRVAR(places_doc, "places(rows, frames, packs, positions, /)\n--\n\nSee `dataver.format.segment`.");

typedef struct {
    Py_buffer rows, frames, packs;
    /* The name that was made last: neighbours mostly lie in one pack. */
    uint32_t number;
    PyObject *name;
} Places;

static PyObject *name_of(Places *all, uint32_t number) {
    if (!all->name || all->number != number) {
        Py_XDECREF(all->name);
        all->number = number;
        all->name = PyBytes_FromStringAndSize((const char *)all->packs.buf + (Py_ssize_t)number * KEY_BYTES, KEY_BYTES);
    }
    return all->name;
}

/* A place as a tuple; NULL with no error set where the row or its frame names what is not there. */
static PyObject *make_place(Places *all, Py_ssize_t position) {
    const Py_buffer *rows = &all->rows, *frames = &all->frames;
    if (position < 0 || position >= rows->len / ROW_BYTES)
        return NULL;
    const unsigned char *row = (const unsigned char *)rows->buf + position * ROW_BYTES;
    uint32_t number = number_at(row), offset = number_at(row + 4), length = number_at(row + 8);
    if (number >= frames->len / FRAME_BYTES)
        return NULL;
    const unsigned char *frame = (const unsigned char *)frames->buf + (Py_ssize_t)number * FRAME_BYTES;
    uint32_t pack = number_at(frame), raw_bytes = number_at(frame + 12);
    if ((Py_ssize_t)pack >= all->packs.len / KEY_BYTES || (uint64_t)offset + length > raw_bytes)
        return NULL;
    PyObject *name = name_of(all, pack);
    return name ? Py_BuildValue("(OIIIIII)", name, number_at(frame + 4), number_at(frame + 8), raw_bytes,
                                number_at(frame + 16), offset, length)
                : NULL;
}

static PyObject *places(PyObject *Py_UNUSED(module), PyObject *args) {
    Places all = {.name = NULL};
    PyObject *positions, *list;
    if (!PyArg_ParseTuple(args, "y*y*y*O!:places", &all.rows, &all.frames, &all.packs, &PyList_Type, &positions))
        return NULL;
    list = PyList_New(0);
    for (Py_ssize_t number = 0; list && number < PyList_Size(positions); number++) {
        Py_ssize_t position = PyLong_AsSsize_t(PyList_GetItem(positions, number));
        PyObject *place = PyErr_Occurred() ? NULL : make_place(&all, position);
        if (!place && !PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "a row names what is not there");
        if (append_new(list, place) < 0)
            Py_CLEAR(list);
    }
    Py_XDECREF(all.name);
    PyBuffer_Release(&all.rows);
    PyBuffer_Release(&all.frames);
    PyBuffer_Release(&all.packs);
    return list;
}

/* Sorting keys. Digests are spread evenly, so most of it is one step: a bucket for each value of their first two bytes. */

#define BUCKETS 65536

static size_t bucket_of(const unsigned char *key) { return (size_t)key[0] << 8 | key[1]; }

/* Equal keys in the order that they stand in memory. */
static int by_key(const void *a, const void *b) {
    const unsigned char *one = *(const unsigned char *const *)a, *other = *(const unsigned char *const *)b;
    int order = memcmp(one, other, KEY_BYTES);
    return order ? order : (one > other) - (one < other);
}

/* Pointers to `count` keys in their order, of equal ones the first: how many there are, or -1 without memory. */
static Py_ssize_t sort_keys(const unsigned char *keys, Py_ssize_t count, const unsigned char **sorted) {
    size_t *ends = calloc(BUCKETS + 1, sizeof *ends);
    if (!ends)
        return -1;
    for (Py_ssize_t number = 0; number < count; number++)
        ends[bucket_of(keys + number * KEY_BYTES) + 1]++;
    for (size_t bucket = 0; bucket < BUCKETS; bucket++)
        ends[bucket + 1] += ends[bucket];
    for (Py_ssize_t number = 0; number < count; number++) {
        const unsigned char *key = keys + number * KEY_BYTES;
        sorted[ends[bucket_of(key)]++] = key;
    }
    for (size_t bucket = 0, start = 0; bucket < BUCKETS; start = ends[bucket++])
        if (ends[bucket] - start > 1)
            qsort(sorted + start, ends[bucket] - start, sizeof *sorted, by_key);
    free(ends);
    Py_ssize_t kept = 0;
    for (Py_ssize_t number = 0; number < count; number++)
        if (!kept || memcmp(sorted[kept - 1], sorted[number], KEY_BYTES))
            sorted[kept++] = sorted[number];
    return kept;
}

PyDoc_STRVAR(arrange_doc, "arrange(keys, rows, /)\n--\n\nSee `dataver.format.segment`.");

static PyObject *arrange(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer keys, rows;
    PyObject *sorted_keys = NULL, *sorted_rows = NULL, *both = NULL;
    const unsigned char **sorted = NULL;
    if (!PyArg_ParseTuple(args, "y*y*:arrange", &keys, &rows))
        return NULL;
    Py_ssize_t count = keys.len / KEY_BYTES, kept = -1;
    if (keys.len % KEY_BYTES || rows.len != count * ROW_BYTES) {
        PyErr_SetString(PyExc_ValueError, "keys have 32 bytes and rows 12, and they are as many");
        goto end;
    }
    Py_BEGIN_ALLOW_THREADS
    sorted = malloc((count ? count : 1) * sizeof *sorted);
    if (sorted)
        kept = sort_keys(keys.buf, count, sorted);
    Py_END_ALLOW_THREADS
    if (kept < 0) {
        PyErr_NoMemory();
        goto end;
    }
    sorted_keys = PyBytes_FromStringAndSize(NULL, kept * KEY_BYTES);
    sorted_rows = PyBytes_FromStringAndSize(NULL, kept * ROW_BYTES);
    if (sorted_keys && sorted_rows) {
        char *to_keys = PyBytes_AsString(sorted_keys), *to_rows = PyBytes_AsString(sorted_rows);
        for (Py_ssize_t number = 0; number < kept; number++) {
            Py_ssize_t at = (sorted[number] - (const unsigned char *)keys.buf) / KEY_BYTES;
            memcpy(to_keys + number * KEY_BYTES, sorted[number], KEY_BYTES);
            memcpy(to_rows + number * ROW_BYTES, (const char *)rows.buf + at * ROW_BYTES, ROW_BYTES);
        }
        both = PyTuple_Pack(2, sorted_keys, sorted_rows);
    }
end:
    free(sorted);
    Py_XDECREF(sorted_keys);
    Py_XDECREF(sorted_rows);
    PyBuffer_Release(&keys);
    PyBuffer_Release(&rows);
    return both;
}

PyDoc_STRVAR(select_doc, "select(keys, rows, low, high, /)\n--\n\nSee `dataver.segments`.");

static PyObject *select_keys(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer keys, rows;
    Py_ssize_t low, high;
    PyObject *some_keys = NULL, *some_rows = NULL, *both = NULL;
    if (!PyArg_ParseTuple(args, "y*y*nn:select", &keys, &rows, &low, &high))
        return NULL;
    Py_ssize_t count = keys.len / KEY_BYTES, found = 0;
    const unsigned char *key = keys.buf;
    if (keys.len % KEY_BYTES || rows.len != count * ROW_BYTES) {
        PyErr_SetString(PyExc_ValueError, "keys have 32 bytes and rows 12, and they are as many");
        goto end;
    }
    for (Py_ssize_t number = 0; number < count; number++) {
        Py_ssize_t bucket = (Py_ssize_t)bucket_of(key + number * KEY_BYTES);
        found += low <= bucket && bucket < high;
    }
    some_keys = PyBytes_FromStringAndSize(NULL, found * KEY_BYTES);
    some_rows = PyBytes_FromStringAndSize(NULL, found * ROW_BYTES);
    if (some_keys && some_rows) {
        char *to_keys = PyBytes_AsString(some_keys), *to_rows = PyBytes_AsString(some_rows);
        for (Py_ssize_t number = 0; number < count; number++) {
            Py_ssize_t bucket = (Py_ssize_t)bucket_of(key + number * KEY_BYTES);
            if (bucket < low || bucket >= high)
                continue;
            memcpy(to_keys, key + number * KEY_BYTES, KEY_BYTES);
            memcpy(to_rows, (const char *)rows.buf + number * ROW_BYTES, ROW_BYTES);
            to_keys += KEY_BYTES;
            to_rows += ROW_BYTES;
        }
        both = PyTuple_Pack(2, some_keys, some_rows);
    }
end:
    Py_XDECREF(some_keys);
    Py_XDECREF(some_rows);
    PyBuffer_Release(&keys);
    PyBuffer_Release(&rows);
    return both;
}

/* Keys that were seen, by number. A slot has four bytes of a key and its number and 1; an empty one is 0. Other bytes
   of the key say where the search for it begins, and it ends at an empty slot. */

PyDoc_STRVAR(claim_doc, "claim(slots, keys, number, distinct=False, /)\n--\n\nSee `dataver.claims`.");

static PyObject *claim(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer slots, keys;
    Py_ssize_t number;
    int distinct = 0;
    PyObject *list = NULL;
    if (!PyArg_ParseTuple(args, "w*y*n|p:claim", &slots, &keys, &number, &distinct))
        return NULL;
    size_t room = (size_t)slots.len / sizeof(uint64_t);
    Py_ssize_t count = keys.len / KEY_BYTES;
    uint64_t *slot = slots.buf;
    if (keys.len % KEY_BYTES || slots.len % sizeof *slot || !room || room & (room - 1) ||
        (size_t)slots.buf % sizeof *slot || number < 0 || number > (Py_ssize_t)UINT32_MAX - 1 - count ||
        (size_t)(number + count) >= room) {
        PyErr_SetString(PyExc_ValueError, "keys have 32 bytes, slots 8, a power of two of them, and one stays empty");
        goto end;
    }
    list = PyList_New(0);
    for (Py_ssize_t at = 0; list && at < count; at++) {
        const unsigned char *key = (const unsigned char *)keys.buf + at * KEY_BYTES;
        uint64_t where, mark;
        uint32_t part;
        memcpy(&where, key, sizeof where);
        memcpy(&part, key + sizeof where, sizeof part);
        mark = (uint64_t)part << 32;
        size_t place = (size_t)where & (room - 1);
        while (slot[place] && (distinct || slot[place] >> 32 != part))
            place = (place + 1) & (room - 1);
        long long seen = (long long)(slot[place] & UINT32_MAX) - 1;
        if (!slot[place])
            slot[place] = mark | (uint64_t)++number;
        if (append_new(list, PyLong_FromLongLong(seen)) < 0)
            Py_CLEAR(list);
    }
end:
    PyBuffer_Release(&slots);
    PyBuffer_Release(&keys);
    return list;
}

PyDoc_STRVAR(fanout_doc, "fanout(keys, bits, /)\n--\n\nSee `dataver.format.segment`.");

static PyObject *fanout(PyObject *Py_UNUSED(module), PyObject *args) {
    Py_buffer keys;
    int bits;
    PyObject *table = NULL;
    if (!PyArg_ParseTuple(args, "y*i:fanout", &keys, &bits))
        return NULL;
    Py_ssize_t count = keys.len / KEY_BYTES, at = 0;
    if (keys.len % KEY_BYTES || bits < 0 || bits > 16)
        PyErr_SetString(PyExc_ValueError, "keys have 32 bytes, and a table is of at most 16 bits");
    else
        table = PyBytes_FromStringAndSize(NULL, ((Py_ssize_t)4 << bits) + 4);
    if (table) {
        unsigned char *values = (unsigned char *)PyBytes_AsString(table);
        for (size_t value = 0; value <= (size_t)1 << bits; value++) {
            while (at < count && bucket_of((const unsigned char *)keys.buf + at * KEY_BYTES) >> (16 - bits) < value)
                at++;
            for (int byte = 0; byte < 4; byte++)
                values[4 * value + byte] = (unsigned char)((uint64_t)at >> (8 * byte));
        }
    }
    PyBuffer_Release(&keys);
    return table;
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
    unsigned char stamp[STAMP_BYTES], found[BLAKE3_BYTES];
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
#ifdef AT_EMPTY_PATH
    /* Saves the look-ups in /proc. Before Linux 6.10 only some may; what other reason there is, the next way will say. */
    if (linkat(fd, "", folder, name, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno == EEXIST)
        return -1;
#endif
    snprintf(here, sizeof here, "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, here, folder, name, AT_SYMLINK_FOLLOW);
}

/* Give a file that has the name `part` its own: -1 with EEXIST where that is taken. As `_place` of dataver.targets. */
static int place_new(int folder, const char *part, const char *name) {
    struct stat found;
#ifdef RENAME_NOREPLACE
    /* One call in place of two. What other reason there is not to, the next way will say. */
    if (renameat2(folder, part, folder, name, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno == EEXIST)
        return -1;
#endif
    if (linkat(folder, part, folder, name, 0) == 0)
        return unlinkat(folder, part, 0);
    if (errno != EPERM && errno != ENOSYS && errno != ENOTSUP && errno != EOPNOTSUPP && errno != EMLINK)
        return -1;
    /* There are no hard links. */
    if (fstatat(folder, name, &found, AT_SYMLINK_NOFOLLOW) == 0) {
        errno = EEXIST;
        return -1;
    }
    return renameat(folder, part, folder, name);
}

/* 0, the number of an error, or OTHER_DIGEST. *unnamed: whether to try files without a name. */
static int write_one(int folder, const char *part, Written *file, int *unnamed, int replace) {
    struct stat found;
    if (memcmp(file->found, file->digest, BLAKE3_BYTES) != 0)
        return OTHER_DIGEST;
    int fd = create(folder, part, file->executable, unnamed);
    if (fd < 0)
        return errno;
    int has_part = !*unnamed, placed = 0;
    int error = write_fully(fd, file->data.buf, file->data.len);
    if (!error && !has_part) {
        placed = name_file(fd, folder, file->name) == 0;
        /* Something is there, to be replaced or not; or there is no /proc, and the named way is left. */
        if (!placed && errno == EEXIST) {
            if (!replace)
                error = EEXIST;
            else
                has_part = name_file(fd, folder, part) == 0;
        }
        if (!error && !placed && !has_part) {
            close(fd);
            *unnamed = 0;
            return write_one(folder, part, file, unnamed, replace);
        }
    }
    if (!error && !placed) {
        placed = (replace ? renameat(folder, part, folder, file->name) : place_new(folder, part, file->name)) == 0;
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

/* Hash the first of these files, side by side: how many, or -1 where there is no memory. */
static Py_ssize_t hash_some(Written *files, Py_ssize_t count) {
    Input inputs[HASHED_TOGETHER_MAX];
    unsigned char digests[HASHED_TOGETHER_MAX * BLAKE3_BYTES];
    size_t bytes = 0;
    Py_ssize_t some = 0;
    while (some < count && some < HASHED_TOGETHER_MAX && bytes < HASHED_TOGETHER_BYTES) {
        inputs[some] = (Input){files[some].data.buf, (size_t)files[some].data.len};
        bytes += inputs[some++].bytes;
    }
    if (blake3_many(inputs, (size_t)some, digests) < 0)
        return -1;
    for (Py_ssize_t number = 0; number < some; number++)
        memcpy(files[number].found, digests + number * BLAKE3_BYTES, BLAKE3_BYTES);
    return some;
}

static int write_all(int folder, const char *part, Written *files, Py_ssize_t count, int unnamed, int replace,
                     Py_ssize_t *done) {
    char name[PART_NAME_BYTES];
    Py_ssize_t hashed = 0;
    for (*done = 0; *done < count; ++*done) {
        if (*done == hashed) {
            Py_ssize_t more = hash_some(files + hashed, count - hashed);
            if (more < 0)
                return ENOMEM;
            hashed += more;
        }
        snprintf(name, sizeof name, "%s-%zd", part, *done);
        int error = write_one(folder, name, &files[*done], &unnamed, replace);
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

PyDoc_STRVAR(write_files_doc, "write_files(folder, part, files, unnamed=True, replace=True, /)\n--\n\nSee `dataver.targets`.");

static PyObject *write_files(PyObject *Py_UNUSED(module), PyObject *args) {
    int folder, error, unnamed = 1, replace = 1;
    const char *part;
    Py_ssize_t part_bytes, parsed = 0, done;
    PyObject *list, *files, *stamps = NULL, *result = NULL;
    if (!PyArg_ParseTuple(args, "iy#O|pp:write_files", &folder, &part, &part_bytes, &list, &unnamed, &replace))
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
    error = write_all(folder, part, written, count, unnamed, replace, &done);
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
    {"cut", cut, METH_VARARGS, cut_doc},
    {"arrange", arrange, METH_VARARGS, arrange_doc},
    {"select", select_keys, METH_VARARGS, select_doc},
    {"claim", claim, METH_VARARGS, claim_doc},
    {"fanout", fanout, METH_VARARGS, fanout_doc},
    {"places", places, METH_VARARGS, places_doc},
    {"find", find, METH_VARARGS, find_doc},
    {"digests", digests_of, METH_O, digests_doc},
    {"is_noise", is_noise, METH_O, is_noise_doc},
    {"same", same, METH_VARARGS, same_doc},
    {"is_fast", is_fast, METH_NOARGS, is_fast_doc},
    {"list_folder", list_folder, METH_VARARGS, list_folder_doc},
    {"read_into", read_into, METH_VARARGS, read_into_doc},
    {"read_files", read_files, METH_VARARGS, read_files_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "dataver._native", .m_size = 0, .m_methods = methods, .m_slots = slots,
};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
