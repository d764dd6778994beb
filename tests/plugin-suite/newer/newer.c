/* A plugin of a later minor version than the host's: its structs have more at
 * their ends, and its methods know capabilities that this host does not. */
#include "limpid_plugin.h"

#include <stdlib.h>
#include <string.h>

#define NEWER(type)                                                                         \
    struct newer_##type {                                                                   \
        type base;                                                                          \
        uint64_t future[16];                                                                \
    }
#define NEWER_HEAD(type) { (uint32_t)sizeof(struct newer_##type), LIMPID_ABI_MAJOR, 9 }

NEWER(limpid_plugin);
NEWER(limpid_method);
NEWER(limpid_instance);
NEWER(limpid_pass);
NEWER(limpid_passed);
NEWER(limpid_map);
NEWER(limpid_limits);

struct instance {
    struct newer_limpid_instance base;
    const limpid_host *host;
};

static limpid_status failed(const limpid_host *host, limpid_job job, const char *words) {
    limpid_str error;
    error.data = words;
    error.len = strlen(words);
    host->set_error(job, error);
    return LIMPID_FAILED;
}

static limpid_status explain(limpid_instance *instance, limpid_job job,
                             const limpid_request *request) {
    const limpid_host *host = ((const struct instance *)instance)->host;
    struct newer_limpid_limits limits;
    limpid_head limits_head = NEWER_HEAD(limpid_limits);
    memset(&limits, 0xff, sizeof limits);
    limits.base.head = limits_head;
    limpid_status status = host->limits(job, &limits.base);
    if (status != LIMPID_OK) return status;
    /* The host fills what it knows and leaves the rest. */
    if (limits.base.threads == UINT64_MAX) return failed(host, job, "no limits");
    if (limits.future[0] != UINT64_MAX) return failed(host, job, "the host wrote too much");
    for (uint64_t i = 0; i < request->objective_count; i++) {
        limpid_str layer = { NULL, 0 };
        limpid_tensor gradient = 0;
        struct newer_limpid_pass pass;
        struct newer_limpid_passed passed;
        struct newer_limpid_map map;
        limpid_head pass_head = NEWER_HEAD(limpid_pass), passed_head = NEWER_HEAD(limpid_passed);
        limpid_head map_head = NEWER_HEAD(limpid_map);
        memset(&pass, 0, sizeof pass);
        memset(&passed, 0, sizeof passed);
        memset(&map, 0, sizeof map);
        pass.base.head = pass_head;
        pass.base.pictures = request->tensor;
        pass.base.objective = &request->objectives[i];
        pass.base.layers = &layer;
        pass.base.layer_count = 1;
        passed.base.head = passed_head;
        passed.base.gradients = &gradient;
        passed.future[0] = 77;
        status = host->pass(job, &pass.base, &passed.base);
        if (status != LIMPID_OK) return status;
        if (passed.future[0] != 77) return failed(host, job, "the host wrote too much");
        map.base.head = map_head;
        map.base.tensor = gradient;
        map.base.domain = LIMPID_INPUT;
        map.base.has_sign = 1;
        map.base.evaluations.gradients = 1;
        map.future[0] = 1;
        status = host->emit(job, &map.base);
        host->tensor_release(job, gradient);
        host->tensor_release(job, passed.base.logits);
        if (status != LIMPID_OK) return status;
    }
    return LIMPID_OK;
}

static void destroy(limpid_instance *instance) { free(instance); }

static limpid_status create(const limpid_host *host, limpid_str method, limpid_str parameters,
                            uint64_t smooth, limpid_sink error, limpid_instance **out) {
    limpid_head head = NEWER_HEAD(limpid_instance);
    struct instance *self = calloc(1, sizeof *self);
    (void)method, (void)parameters, (void)smooth, (void)error;
    if (!self) return LIMPID_OUT_OF_MEMORY;
    self->base.base.head = head;
    self->base.base.explain = explain;
    self->base.base.destroy = destroy;
    self->host = host;
    *out = &self->base.base;
    return LIMPID_OK;
}

/* A service that comes later. */
#define LIMPID_CAN_DREAM ((uint64_t)1 << 40)

static const struct newer_limpid_method optional = {
    { NEWER_HEAD(limpid_method), LIMPID_TEXT("gradient"), LIMPID_TEXT("gradient"),
      LIMPID_TEXT("[C,H,W]"), LIMPID_TEXT("uses what there is"), { NULL, 0 }, 0,
      LIMPID_CAN_PASS, LIMPID_CAN_DREAM },
    { 1, 2, 3 }
};

static const struct newer_limpid_method required = {
    { NEWER_HEAD(limpid_method), LIMPID_TEXT("dream"), LIMPID_TEXT("gradient"),
      LIMPID_TEXT("[C,H,W]"), LIMPID_TEXT("cannot do without"), { NULL, 0 }, 0,
      LIMPID_CAN_PASS | LIMPID_CAN_DREAM, 0 },
    { 1, 2, 3 }
};

static const limpid_method *const methods[] = { &optional.base, &required.base };

static const struct newer_limpid_plugin plugin = {
    { NEWER_HEAD(limpid_plugin), LIMPID_TEXT("newer"), LIMPID_TEXT("Newer"),
      LIMPID_TEXT("2.0.0"), methods, 2, create, NULL },
    { 1, 2, 3 }
};

const limpid_plugin *limpid_plugin_entry(const limpid_host *host, limpid_sink error) {
    (void)host, (void)error;
    return &plugin.base;
}
