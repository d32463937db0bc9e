/* From bytes to a method with arguments and back, in all four forms; what wrong bytes get. */
#include "admin/rpc.h"

#include "core/err.h"
#include "core/limits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <cmocka.h>

static const struct api_server_info server = { .cluster_name = { "test", 4 }, .stats_url_prefix = { "", 0 } };

static struct api_response ok_response(void)
{
    static struct api_server_info info;
    info = server;
    return (struct api_response){
        .has_response_code = true, .response_code = API_RESPONSE_CODE_OK, .server_info = &info, .has_details = true
    };
}

static const char *body_of(struct rpc_answer *a)
{
    return buf_cstr(&a->body);
}

/* ---------------- codec selection ---------------- */

#define CALL_TJSON "[1,\"getJobs\",1,7,{\"1\":{\"str\":\"www\"}}]"

/* 80010001 00000007 getJobs 00000007, field 1 string "www", stop */
static const char call_tbinary[] =
    "\x80\x01\x00\x01\x00\x00\x00\x07getJobs\x00\x00\x00\x07\x0b\x00\x01\x00\x00\x00\x03www";
#define CALL_TBINARY ((struct str){ call_tbinary, sizeof(call_tbinary) })

static void assert_read(const char *content_type, const char *accept, struct str body, enum rpc_form answer_form)
{
    struct rpc_request q;
    struct rpc_answer a = { 0 };
    assert_true(rpc_read_thrift(str_c(content_type), str_c(accept), body, &q, &a));
    assert_int_equal(q.form, answer_form);
    assert_string_equal(q.method->name, "getJobs");
    assert_int_equal(q.seqid, 7);
    const struct api_get_jobs_args *args = q.args;
    assert_true(str_eq(args->owner_role, STR("www")));
    rpc_request_release(&q);
    buf_release(&a.body);
}

static void test_content_types(void **state)
{
    (void)state;
    static const char *const json[] = { NULL,
                                        "",
                                        "application/x-thrift",
                                        "application/json",
                                        "Application/JSON",
                                        "application/vnd.apache.thrift.json",
                                        "application/vnd.apache.thrift.json; charset=utf-8",
                                        "application/vnd.apache.thrift.json;charset=UTF-8" };
    for (size_t i = 0; i < sizeof(json) / sizeof(json[0]); i++) assert_read(json[i], NULL, STR(CALL_TJSON), RPC_TJSON);
    assert_read("application/vnd.apache.thrift.binary", NULL, CALL_TBINARY, RPC_TJSON);
    static const char *const others[] = { "*/*", "application/json", "application/vnd.apache.thrift.binary, */*", "" };
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_read("application/json", others[i], STR(CALL_TJSON), RPC_TJSON);
    assert_read("application/json", "application/vnd.apache.thrift.binary", STR(CALL_TJSON), RPC_TBINARY);
}

static void test_unsupported_content_types(void **state)
{
    (void)state;
    static const char *const types[] = { "application/json; charset=utf-8",
                                         "application/x-thrift;charset=utf-8",
                                         "application/x-www-form-urlencoded",
                                         "text/plain",
                                         "application/vnd.apache.thrift.binary; charset=utf-8",
                                         "application/vnd.apache.thrift.json; charset=latin-1",
                                         "nonsense" };
    for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        struct rpc_request q;
        struct rpc_answer a = { 0 };
        char expected[128] = "Unsupported Content-Type: ";
        strcat(expected, types[i]);
        assert_false(rpc_read_thrift(str_c(types[i]), str_c(NULL), STR(CALL_TJSON), &q, &a));
        assert_int_equal(a.status, 415);
        assert_string_equal(body_of(&a), expected);
        buf_release(&a.body);
    }
}

/* ---------------- Thrift errors ---------------- */

static void assert_thrift_answer(const char *type, struct str body, int status, const char *expected, size_t n)
{
    struct rpc_request q;
    struct rpc_answer a = { 0 };
    assert_false(rpc_read_thrift(str_c(type), str_c(type), body, &q, &a));
    assert_int_equal(a.status, status);
    assert_int_equal(a.body.len, n);
    assert_memory_equal(a.body.data, expected, n);
    buf_release(&a.body);
}
#define ASSERT_TJSON(body, status, expected)                                                                           \
    assert_thrift_answer(TYPE_TJSON, STR(body), (status), (expected), strlen(expected))

static void test_thrift_errors(void **state)
{
    (void)state;
    ASSERT_TJSON("[1,\"noSuch\",1,3,{}]", 200,
                 "[1,\"noSuch\",3,3,{\"1\":{\"str\":\"Invalid method name: 'noSuch'\"},\"2\":{\"i32\":1}}]");
    ASSERT_TJSON(
        "[1,\"getJobs\",1,3,{\"1\":{\"str\":\"www\"}", 200,
        "[1,\"getJobs\",3,3,{\"1\":{\"str\":\"Arguments of getJobs: input ends too early\"},\"2\":{\"i32\":7}}]");
    ASSERT_TJSON("[1,\"getJobs\",1,3,{\"1\":{\"str\":www}}]", 200,
                 "[1,\"getJobs\",3,3,{\"1\":{\"str\":\"Arguments of getJobs: malformed input\"},\"2\":{\"i32\":7}}]");
    ASSERT_TJSON("{\"a\":1}", 500, "The body is not a Thrift message: malformed input");
    ASSERT_TJSON("", 500, "The body is not a Thrift message: input ends too early");
    struct str cut = { call_tbinary, sizeof(call_tbinary) - 3 };
    static const char answer[] = "\x80\x01\x00\x03\x00\x00\x00\x07getJobs\x00\x00\x00\x07"
                                 "\x0b\x00\x01\x00\x00\x00\x2a"
                                 "Arguments of getJobs: input ends too early\x08\x00\x02\x00\x00\x00\x07";
    assert_thrift_answer(TYPE_TBINARY, cut, 200, answer, sizeof(answer));
}

/* A string that claims more bytes than are allowed, nesting without end: refused, and cheaply. */
static void test_thrift_bombs(void **state)
{
    (void)state;
    static const char huge[] = "\x80\x01\x00\x01\x00\x00\x00\x07getJobs\x00\x00\x00\x07\x0b\x00\x01\x7f\xff\xff\xffx";
    struct rpc_request q;
    struct rpc_answer a = { 0 };
    struct str body = { huge, sizeof(huge) - 1 };
    assert_false(rpc_read_thrift(str_c(TYPE_TBINARY), str_c(NULL), body, &q, &a));
    assert_non_null(strstr(body_of(&a), "\"2\":{\"i32\":7}"));
    buf_reset(&a.body);
    struct buf deep = { 0 };
    buf_adds(&deep, "[1,\"getJobs\",1,3,{");
    for (int i = 0; i < 100000; i++) buf_adds(&deep, "\"9\":{\"rec\":{");
    body = (struct str){ buf_cstr(&deep), (uint32_t)deep.len };
    assert_false(rpc_read_thrift(str_c(NULL), str_c(NULL), body, &q, &a));
    assert_non_null(strstr(body_of(&a), err_str(ERR_TOO_DEEP)));
    buf_release(&deep);
    buf_release(&a.body);
}

/* ---------------- plain JSON ---------------- */

static void assert_json_error(enum rpc_form form, const char *method, const char *body, int status,
                              const char *expected)
{
    struct rpc_request q;
    struct rpc_answer a = { 0 };
    assert_false(rpc_read_json(form, str_c(method), str_c(body), &server, &q, &a));
    assert_int_equal(a.status, status);
    assert_string_equal(a.content_type, "application/json");
    if (!strstr(body_of(&a), expected)) print_error("%s\n", body_of(&a));
    assert_non_null(strstr(body_of(&a), expected));
    buf_release(&a.body);
}

static void test_json_errors(void **state)
{
    (void)state;
    assert_json_error(RPC_V1, "noSuch", "{}", 404, "{\"responseCode\":\"INVALID_REQUEST\",\"serverInfo\":");
    assert_json_error(RPC_V1, "noSuch", "{}", 404, "Unknown method 'noSuch'");
    assert_json_error(RPC_BETA, "noSuch", "{}", 404, "\"responseCode\":\"ERROR\"");
    for (int form = RPC_V1; form <= RPC_BETA; form++) {
        assert_json_error((enum rpc_form)form, "getJobs", "{", 400, "Request must be valid JSON");
        assert_json_error((enum rpc_form)form, "getJobs", "{}}", 400, "Request must be valid JSON");
        assert_json_error((enum rpc_form)form, "getJobs", "[1]", 400,
                          "Request data must be a JSON object of method parameters.");
        assert_json_error((enum rpc_form)form, "getJobs", "{\"ownerRole\":{}}", 400,
                          "Failed to parse parameter: ownerRole");
    }
    assert_json_error(RPC_V1, "createJob", "{\"description\":{\"taskConfig\":{\"prioritty\":1}}}", 400,
                      "description.taskConfig.prioritty");
    assert_json_error(RPC_V1, "createJob", "{\"description\":{\"instanceCount\":\"many\"}}", 400,
                      "description.instanceCount");
}

static void test_json_forms(void **state)
{
    (void)state;
    struct rpc_request q;
    struct rpc_answer a = { 0 };
    assert_true(rpc_read_json(RPC_V1, STR("getJobs"), STR("{\"ownerRole\":\"www\"}"), &server, &q, &a));
    assert_true(str_eq(((struct api_get_jobs_args *)q.args)->owner_role, STR("www")));
    rpc_request_release(&q);
    assert_true(rpc_read_json(RPC_V1, STR("getJobs"), STR(" \r\n"), &server, &q, &a));
    rpc_request_release(&q);
    /* Aurora's form ignores what it does not know. */
    assert_true(rpc_read_json(RPC_BETA, STR("getJobs"), STR("{\"nonsense\":1}"), &server, &q, &a));
    rpc_request_release(&q);
    buf_release(&a.body);
}

static void test_answers(void **state)
{
    (void)state;
    static const char tbinary[] = "\x80\x01\x00\x02";
    struct api_response r = ok_response();
    struct rpc_request q = { .method = rpc_method(STR("getJobs")), .name = STR("getJobs"), .seqid = 9 };
    const struct {
        enum rpc_form form;
        const char *type, *begins;
    } rows[] = {
        { RPC_V1, "application/json", "{\"responseCode\":\"OK\"" },
        { RPC_BETA, "application/json", "{\"responseCode\":\"OK\"" },
        { RPC_TJSON, "application/vnd.apache.thrift.json", "[1,\"getJobs\",2,9,{\"0\":{\"rec\":{\"1\":{\"i32\":1}" },
        { RPC_TBINARY, "application/vnd.apache.thrift.binary", tbinary },
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct rpc_answer a = { 0 };
        q.form = rows[i].form;
        rpc_write(&q, &r, &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.content_type, rows[i].type);
        assert_memory_equal(a.body.data, rows[i].begins, q.form == RPC_TBINARY ? 4 : strlen(rows[i].begins));
        buf_release(&a.body);
    }
}

/* An answer that breaks its own type (a union with two members) is an error, not half an answer. */
static void test_unwritable_answers(void **state)
{
    (void)state;
    struct api_result result = { 0 };
    struct api_get_jobs_result jobs = { 0 };
    struct api_role_summary_result roles = { 0 };
    result.get_jobs_result = &jobs;
    result.role_summary_result = &roles;
    struct api_response r = ok_response();
    r.result = &result;
    struct rpc_request q = {
        .method = rpc_method(STR("getJobs")), .name = STR("getJobs"), .seqid = 9, .form = RPC_TJSON
    };
    struct rpc_answer a = { 0 };
    rpc_write(&q, &r, &a);
    assert_string_equal(body_of(&a),
                        "[1,\"getJobs\",3,9,{\"1\":{\"str\":\"The answer of getJobs can't be written: invalid "
                        "argument\"},\"2\":{\"i32\":6}}]");
    buf_release(&a.body);
    q.form = RPC_V1;
    rpc_write(&q, &r, &a);
    assert_int_equal(a.status, 500);
    assert_non_null(strstr(body_of(&a), "can't be written"));
    buf_release(&a.body);
}

/* ---------------- the table ---------------- */

static void test_methods(void **state)
{
    (void)state;
    struct buf b = { 0 };
    assert_false(rpc_method_writes(rpc_method(STR("getTasksStatus"))));
    assert_true(rpc_method_writes(rpc_method(STR("createJob"))));
    assert_null(rpc_method(STR("createjob")));
    rpc_method_permission(rpc_method(STR("getJobs")), &b);
    assert_int_equal(b.len, 0);
    rpc_method_permission(rpc_method(STR("killTasks")), &b);
    assert_string_equal(buf_cstr(&b), "thrift.AuroraSchedulerManager:killTasks");
    buf_reset(&b);
    rpc_method_permission(rpc_method(STR("snapshot")), &b);
    assert_string_equal(buf_cstr(&b), "thrift.AuroraAdmin:snapshot");
    buf_reset(&b);
    rpc_write_methods(&b);
    assert_non_null(strstr(buf_cstr(&b),
                           "{\"name\":\"createJob\",\"service\":\"AuroraSchedulerManager\",\"writes\":true,"
                           "\"implemented\":true,\"permission\":\"thrift.AuroraSchedulerManager:createJob\""));
    buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_content_types), cmocka_unit_test(test_unsupported_content_types),
        cmocka_unit_test(test_thrift_errors), cmocka_unit_test(test_thrift_bombs),
        cmocka_unit_test(test_json_errors),   cmocka_unit_test(test_json_forms),
        cmocka_unit_test(test_answers),       cmocka_unit_test(test_unwritable_answers),
        cmocka_unit_test(test_methods),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
