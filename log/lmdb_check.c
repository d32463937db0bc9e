#include "log/lmdb_check.h"

#include "core/buf.h"
#include "core/err.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* LMDB 0.9's format on 64-bit machines: a page is a 16-byte header, an array of 2-byte offsets, free space, nodes. */
enum { PAGE_HEADER = 16, NODE_HEADER = 8, DEPTH_MAX = 32, MIN_PAGE = 512, MAX_PAGE = 65536 };
enum { PAGE_BRANCH = 1, PAGE_LEAF = 2, PAGE_OVERFLOW = 4, PAGE_META = 8, PAGE_KINDS = 15 };
enum { NODE_BIG = 1, NODE_SUBTREE = 2, NODE_DUPLICATES = 4 };
#define META_MAGIC 0xBEEFC0DEu
#define NO_PAGE UINT64_MAX

struct page_header {
    uint64_t number;
    uint16_t pad, flags, lower, upper; /* lower and upper: of an overflow page the number of pages, as 32 bits */
};

struct node_header {
    uint16_t lo, hi, flags, key_size;
};

struct tree {
    uint32_t pad;
    uint16_t flags, depth;
    uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
};

struct meta {
    uint32_t magic, version;
    uint64_t address, map_bytes;
    struct tree free_pages, main; /* free_pages.pad is the page size */
    uint64_t last_page, transaction;
};

struct check {
    const uint8_t *file;
    uint64_t bytes, page_bytes, pages; /* pages: beyond which no number may lie */
    uint8_t *seen;                     /* a bit per page: in use or free */
    uint64_t nodes;                    /* leaf nodes of the tree that is being walked */
    const char *why;
};

static int bad(struct check *c, const char *why)
{
    if (!c->why) c->why = why;
    return ERR_CORRUPT;
}

static int mark(struct check *c, uint64_t first, uint64_t n)
{
    if (first < 2 || n > c->pages || first > c->pages - n) return bad(c, "a page number is out of range");
    for (uint64_t p = first; p < first + n; p++) {
        if (c->seen[p / 8] & 1 << p % 8) return bad(c, "a page is used twice");
        c->seen[p / 8] |= (uint8_t)(1 << p % 8);
    }
    return 0;
}

/* The page with its header checked; NULL: bad. */
static const uint8_t *page(struct check *c, uint64_t number, int kind, struct page_header *ret)
{
    if (number >= c->bytes / c->page_bytes) {
        bad(c, "the file is too short");
        return NULL;
    }
    const uint8_t *p = c->file + number * c->page_bytes;
    memcpy(ret, p, sizeof(*ret));
    if (ret->number == number && (ret->flags & PAGE_KINDS) == kind) return p;
    bad(c, "a page has a wrong header");
    return NULL;
}

static int check_overflow(struct check *c, uint64_t number, uint64_t size)
{
    struct page_header h;
    uint32_t n;
    if (!page(c, number, PAGE_OVERFLOW, &h)) return ERR_CORRUPT;
    memcpy(&n, c->file + number * c->page_bytes + 12, sizeof(n));
    /* A value that was replaced within one transaction may leave some pages over. */
    if (n == 0 || (size + PAGE_HEADER + c->page_bytes - 1) / c->page_bytes > n)
        return bad(c, "a large value has a wrong length");
    if (n > c->bytes / c->page_bytes - number) return bad(c, "the file is too short");
    return mark(c, number, n);
}

static int walk(struct check *c, uint64_t number, unsigned depth, unsigned level, bool is_free_list);

static int check_tree(struct check *c, const struct tree *t, bool is_free_list)
{
    if (t->root == NO_PAGE) return t->entries ? bad(c, "a tree has lost its root") : 0;
    if (t->depth == 0 || t->depth > DEPTH_MAX) return bad(c, "a tree has a wrong depth");
    uint64_t outer = c->nodes;
    c->nodes = 0;
    int err = walk(c, t->root, t->depth, 1, is_free_list);
    if (!err && c->nodes != t->entries) err = bad(c, "a tree has lost or won records");
    c->nodes = outer;
    return err;
}

/* A value of the free list: a count, then page numbers. */
static int check_free(struct check *c, const uint8_t *v, uint64_t size)
{
    uint64_t n;
    if (size < sizeof(n)) return bad(c, "the list of free pages is damaged");
    memcpy(&n, v, sizeof(n));
    if (n > size / sizeof(n) - 1) return bad(c, "the list of free pages is damaged");
    for (uint64_t i = 1; i <= n; i++) {
        uint64_t p;
        memcpy(&p, v + i * sizeof(p), sizeof(p));
        if (mark(c, p, 1)) return bad(c, "the list of free pages is damaged");
    }
    return 0;
}

static int check_leaf_node(struct check *c, const uint8_t *data, uint64_t room, struct node_header h, bool is_free_list)
{
    uint64_t size = (uint64_t)h.lo | (uint64_t)h.hi << 16, big;
    const uint8_t *value = data + h.key_size;
    c->nodes++;
    if (h.flags & NODE_DUPLICATES) return bad(c, "a node has a wrong kind");
    if (h.flags & NODE_BIG) {
        if (room < (uint64_t)h.key_size + sizeof(big)) return bad(c, "a node leaves its page");
        memcpy(&big, value, sizeof(big));
        int err = check_overflow(c, big, size);
        return err || !is_free_list ? err : check_free(c, c->file + big * c->page_bytes + PAGE_HEADER, size);
    }
    if (room < h.key_size + size) return bad(c, "a node leaves its page");
    if (is_free_list) return check_free(c, value, size);
    if (!(h.flags & NODE_SUBTREE)) return 0;
    struct tree t;
    if (size != sizeof(t)) return bad(c, "a node has a wrong kind");
    memcpy(&t, value, sizeof(t));
    return check_tree(c, &t, false);
}

static int check_node(struct check *c, const uint8_t *p, uint16_t at, unsigned depth, unsigned level, bool is_free_list)
{
    struct node_header h;
    if (at < PAGE_HEADER || (uint64_t)at + NODE_HEADER > c->page_bytes) return bad(c, "a node leaves its page");
    memcpy(&h, p + at, sizeof(h));
    uint64_t room = c->page_bytes - at - NODE_HEADER;
    if (level == depth) return check_leaf_node(c, p + at + NODE_HEADER, room, h, is_free_list);
    if (h.key_size > room) return bad(c, "a node leaves its page");
    return walk(c, (uint64_t)h.lo | (uint64_t)h.hi << 16 | (uint64_t)h.flags << 32, depth, level + 1, is_free_list);
}

/* Recursion is bounded by DEPTH_MAX, the number of pages by mark(). */
static int walk(struct check *c, uint64_t number, unsigned depth, unsigned level, bool is_free_list)
{
    struct page_header h;
    const uint8_t *p = page(c, number, level == depth ? PAGE_LEAF : PAGE_BRANCH, &h);
    int err = p ? mark(c, number, 1) : ERR_CORRUPT;
    if (err) return err;
    if (h.lower < PAGE_HEADER || h.lower % 2 || h.lower > h.upper || h.upper > c->page_bytes)
        return bad(c, "a page has a wrong header");
    unsigned n = (h.lower - PAGE_HEADER) / 2u;
    if (n < (level < depth ? 2u : 1u)) return bad(c, "a page is empty");
    for (unsigned i = 0; i < n && !err; i++) {
        uint16_t at;
        memcpy(&at, p + PAGE_HEADER + (size_t)i * 2, sizeof(at));
        if (at < h.upper) return bad(c, "a node leaves its page");
        err = check_node(c, p, at, depth, level, is_free_list);
    }
    return err;
}

static bool read_meta(const struct check *c, uint64_t at, struct meta *ret)
{
    struct page_header h;
    if (c->bytes < at + PAGE_HEADER + sizeof(*ret)) return false;
    memcpy(&h, c->file + at, sizeof(h));
    memcpy(ret, c->file + at + PAGE_HEADER, sizeof(*ret));
    return h.flags & PAGE_META && ret->magic == META_MAGIC;
}

static bool page_size_ok(uint64_t n)
{
    return n >= MIN_PAGE && n <= MAX_PAGE && (n & (n - 1)) == 0;
}

/* Each commit writes the meta that the one before did not. A transaction number that has changed would bring back an
 * older state without a word. */
static bool alternate(uint64_t first, uint64_t second)
{
    if (first == 0 && second == 0) return true; /* nothing was ever written */
    return first % 2 == 0 && (second == first + 1 || first == second + 1);
}

/* LMDB uses the later one of the two metas; both were synced before anything relied on them. */
static int check_file(struct check *c)
{
    struct meta m[2];
    if (!read_meta(c, 0, &m[0])) return bad(c, "it does not begin as an LMDB file");
    c->page_bytes = m[0].free_pages.pad;
    if (!page_size_ok(c->page_bytes)) return bad(c, "its page size is wrong");
    if (!read_meta(c, c->page_bytes, &m[1])) return bad(c, "its second page is damaged");
    const struct meta *last = m[1].transaction > m[0].transaction ? &m[1] : &m[0];
    if (last->free_pages.pad != c->page_bytes || last->version != m[0].version)
        return bad(c, "its first pages contradict each other");
    if (!alternate(m[0].transaction, m[1].transaction)) return bad(c, "its last commits are not consecutive");
    if (last->last_page >= UINT64_MAX / c->page_bytes || last->last_page < 1) return bad(c, "its size is wrong");
    /* A page at the very end may have been given back before it was ever written. */
    if (last->last_page > c->bytes / c->page_bytes + (1u << 20)) return bad(c, "the file is too short");
    c->pages = last->last_page + 1;
    c->seen = xcalloc(c->pages / 8 + 1, 1);
    int err = check_tree(c, &last->main, false);
    return err ? err : check_tree(c, &last->free_pages, true);
}

int lmdb_check(const char *file, const char **ret_why)
{
    struct check c = { 0 };
    struct stat st;
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return ERR_IO;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        close(fd);
        return ERR_IO;
    }
    c.bytes = (uint64_t)st.st_size;
    c.file = c.bytes ? mmap(NULL, c.bytes, PROT_READ, MAP_SHARED, fd, 0) : NULL;
    close(fd);
    if (c.file == MAP_FAILED) return ERR_IO;
    int err = check_file(&c);
    if (c.file) munmap((void *)c.file, c.bytes);
    free(c.seen);
    if (err) *ret_why = c.why;
    return err;
}
