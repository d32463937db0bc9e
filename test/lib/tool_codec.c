/* Our codecs at the other end of a pipe, for tests against other implementations.
 *
 * stdin is a sequence of requests, a line and the bytes that it announces:
 *     convert FROM TO STRUCT N\n<N bytes>   STRUCT in form FROM is answered in form TO
 *     call FORM N\n<N bytes>                a whole CALL; answered by a REPLY that holds the arguments as JSON
 * stdout has for each `ok N\n<N bytes>` or `error TEXT\n`. Forms: tbinary, tjson, json, gson. */
#include "core/err.h"
#include "core/thrift.h"

#include "api.gen.h"

#include <stdio.h>
#include <stdlib.h>

static const struct tdesc *find_struct(const char *name)
{
    for (uint32_t i = 0; i < api_n_structs; i++)
        if (strcmp(api_structs[i]->name, name) == 0) return api_structs[i];
    for (uint32_t i = 0; i < api_n_methods; i++)
        if (strcmp(api_methods[i].args->name, name) == 0) return api_methods[i].args;
    return NULL;
}

static int read_as(const char *form, const void *data, size_t n, const struct tdesc *d, void *obj, struct arena *a)
{
    if (strcmp(form, "tbinary") == 0) return tbinary_read(data, n, d, obj, a, NULL);
    if (strcmp(form, "tjson") == 0) return tjson_read(data, n, d, obj, a, NULL);
    return json_read(data, n, d, obj, a, JSON_STRICT, NULL);
}

static int write_as(const char *form, struct buf *out, const struct tdesc *d, const void *obj)
{
    if (strcmp(form, "tbinary") == 0) return tbinary_write(out, d, obj);
    if (strcmp(form, "tjson") == 0) return tjson_write(out, d, obj);
    return json_write(out, d, obj, strcmp(form, "gson") == 0 ? JSON_GSON : JSON_PLAIN);
}

static int convert(const char *from, const char *to, const char *name, const struct buf *in, struct buf *out,
                   struct arena *a)
{
    const struct tdesc *d = find_struct(name);
    if (!d) return ERR_NOT_FOUND;
    void *obj = arena_alloc(a, d->size);
    int rc = read_as(from, in->data, in->len, d, obj, a);
    return rc < 0 ? rc : write_as(to, out, d, obj);
}

static const struct tmethod *find_method(struct str name)
{
    for (uint32_t i = 0; i < api_n_methods; i++)
        if (str_eq(name, str_c(api_methods[i].name))) return &api_methods[i];
    return NULL;
}

static int reply(bool binary, const struct tmessage *m, const struct tmethod *method, const void *args, struct buf *out)
{
    struct buf json = { 0 };
    int rc = json_write(&json, method->args, args, JSON_PLAIN);
    if (rc < 0) return rc;
    struct api_response_detail detail = { .message = { (char *)json.data, (uint32_t)json.len } };
    struct api_response r = { .has_response_code = true,
                              .response_code = API_RESPONSE_CODE_OK,
                              .has_details = true,
                              .n_details = 1,
                              .details = &detail };
    rc = binary ? tbinary_reply_write(out, m->name, m->seqid, &api_response_desc, &r)
                : tjson_reply_write(out, m->name, m->seqid, &api_response_desc, &r);
    buf_release(&json);
    return rc;
}

static int call(bool binary, const struct buf *in, struct buf *out, struct arena *a)
{
    struct tmessage m;
    int rc = binary ? tbinary_message_read(in->data, in->len, &m, a) : tjson_message_read(in->data, in->len, &m, a);
    if (rc < 0) return rc;
    const struct tmethod *method = find_method(m.name);
    if (!method) {
        if (binary)
            tbinary_exception_write(out, m.name, m.seqid, "Invalid method name", 1);
        else
            tjson_exception_write(out, m.name, m.seqid, "Invalid method name", 1);
        return 0;
    }
    void *args = arena_alloc(a, method->args->size);
    const uint8_t *body = in->data + m.body;
    size_t used = 0, n = in->len - m.body;
    rc = binary ? tbinary_read(body, n, method->args, args, a, &used)
                : tjson_read(body, n, method->args, args, a, &used);
    if (rc == 0) rc = binary ? (used == n ? 0 : ERR_MALFORMED) : tjson_message_end(in->data, in->len, m.body + used);
    return rc < 0 ? rc : reply(binary, &m, method, args, out);
}

static void read_body(size_t n, struct buf *in)
{
    buf_reset(in);
    if (fread(buf_reserve(in, n + 1), 1, n, stdin) != n) exit(1);
    buf_commit(in, n);
}

static int serve(const char *line, struct buf *in, struct buf *out, struct arena *a)
{
    char from[16], to[16], name[128];
    size_t n;
    if (sscanf(line, "convert %15s %15s %127s %zu", from, to, name, &n) == 4) {
        read_body(n, in);
        return convert(from, to, name, in, out, a);
    }
    if (sscanf(line, "call %15s %zu", from, &n) == 2) {
        read_body(n, in);
        return call(strcmp(from, "tbinary") == 0, in, out, a);
    }
    return ERR_INVALID;
}

int main(void)
{
    char line[256];
    struct buf in = { 0 }, out = { 0 };
    while (fgets(line, sizeof line, stdin)) {
        struct arena a = { 0 };
        buf_reset(&out);
        int rc = serve(line, &in, &out, &a);
        if (rc < 0) {
            printf("error %s\n", err_str(rc));
        } else {
            printf("ok %zu\n", out.len);
            fwrite(out.data, 1, out.len, stdout);
        }
        fflush(stdout);
        arena_release(&a);
    }
    buf_release(&in);
    buf_release(&out);
    return 0;
}
