/* Two methods as a plugin in plain C99. See README.md.
 *
 * blurred-gradient: the mean of the gradients at the picture under blurs of
 * 0, 1, ... pixels. The blurs, the passes and the mean stay where the model runs.
 *
 * c-integrated-gradients: Integrated Gradients from black, by one service that
 * runs the whole loop. */
#include "limpid_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum method { BLURRED_GRADIENT, INTEGRATED_GRADIENTS };

/* An instance begins with what the host knows of it. */
struct instance {
    limpid_instance base;
    const limpid_host *host;
    enum method method;
    uint64_t count; /* `scales` or `steps` */
};

static limpid_str text(const char *words) {
    limpid_str result;
    result.data = words;
    result.len = strlen(words);
    return result;
}

static int is(limpid_str found, const char *expected) {
    return found.len == strlen(expected) && memcmp(found.data, expected, found.len) == 0;
}

/* The whole number behind `"name":` in an object of JSON, or `otherwise`. The
 * host has compared the values with the schema, and writes them without spaces. */
static uint64_t parameter(limpid_str json, const char *name, uint64_t otherwise) {
    char key[64];
    int len = snprintf(key, sizeof key, "\"%s\":", name);
    for (uint64_t i = 0; i + (uint64_t)len < json.len; i++) {
        if (memcmp(json.data + i, key, (size_t)len) != 0) continue;
        uint64_t value = 0;
        for (i += (uint64_t)len; i < json.len && json.data[i] >= '0' && json.data[i] <= '9'; i++)
            value = 10 * value + (uint64_t)(json.data[i] - '0');
        return value;
    }
    return otherwise;
}

/* Says what is wrong with the plugin itself. What a service has said need not be
 * repeated: the host remembers it. */
static limpid_status failed(const limpid_host *host, limpid_job job, const char *words) {
    host->set_error(job, text(words));
    return LIMPID_FAILED;
}

/* A map that the host already has. */
static limpid_map device_map(limpid_tensor tensor) {
    limpid_map map;
    memset(&map, 0, sizeof map);
    limpid_head head = LIMPID_HEAD(limpid_map);
    map.head = head;
    map.tensor = tensor;
    map.domain = LIMPID_INPUT;
    map.has_sign = 1;
    return map;
}

/* The picture `[1, C, H, W]` under `count` blurs: `[count, C, H, W]`. */
static limpid_status blurred(const limpid_host *host, limpid_job job, limpid_tensor picture,
                             uint64_t count, limpid_tensor *out) {
    static const char graph[] =
        "{\"inputs\": [{\"name\": \"picture\"}, {\"name\": \"scales\"}],"
        " \"nodes\": [{\"op\": \"HeatKernel\", \"inputs\": [\"picture\", \"scales\"],"
        "              \"outputs\": [\"blurred\", \"slope\"]}],"
        " \"outputs\": [\"blurred\"]}";
    float scales[64];
    for (uint64_t i = 0; i < count; i++) scales[i] = (float)i;
    limpid_tensor inputs[2] = { picture, 0 };
    limpid_status status = host->tensor_new(job, &count, 1, scales, &inputs[1]);
    if (status != LIMPID_OK) return status;
    status = host->compute(job, text(graph), inputs, 2, out, 1);
    host->tensor_release(job, inputs[1]);
    return status;
}

/* The mean over the first axis. */
static limpid_status mean(const limpid_host *host, limpid_job job, limpid_tensor of,
                          limpid_tensor *out) {
    static const char graph[] =
        "{\"inputs\": [{\"name\": \"x\"}],"
        " \"nodes\": [{\"op\": \"ReduceMean\", \"attrs\": {\"axes\": [0]}, \"inputs\": [\"x\"],"
        "              \"outputs\": [\"mean\"]}],"
        " \"outputs\": [\"mean\"]}";
    return host->compute(job, text(graph), &of, 1, out, 1);
}

/* The mean of the gradients of a score at pictures. */
static limpid_status mean_gradient(const limpid_host *host, limpid_job job,
                                   limpid_tensor pictures, const limpid_objective *score,
                                   limpid_tensor *out) {
    /* The empty name stands for the pictures. */
    limpid_str layer = { NULL, 0 };
    limpid_tensor gradients = 0;
    limpid_pass request;
    memset(&request, 0, sizeof request);
    limpid_head head = LIMPID_HEAD(limpid_pass);
    request.head = head;
    request.pictures = pictures;
    request.objective = score;
    request.layers = &layer;
    request.layer_count = 1;
    limpid_passed passed;
    memset(&passed, 0, sizeof passed);
    limpid_head passed_head = LIMPID_HEAD(limpid_passed);
    passed.head = passed_head;
    passed.gradients = &gradients;
    limpid_status status = host->pass(job, &request, &passed);
    if (status != LIMPID_OK) return status;
    status = mean(host, job, gradients, out);
    host->tensor_release(job, passed.logits);
    host->tensor_release(job, gradients);
    return status;
}

static limpid_status blurred_gradient(const struct instance *self, limpid_job job,
                                      const limpid_request *request) {
    const limpid_host *host = self->host;
    limpid_tensor pictures = 0;
    limpid_status status = blurred(host, job, request->tensor, self->count, &pictures);
    for (uint64_t i = 0; status == LIMPID_OK && i < request->objective_count; i++) {
        if (host->is_cancelled(job)) {
            status = LIMPID_CANCELLED;
            break;
        }
        limpid_tensor tensor = 0;
        status = mean_gradient(host, job, pictures, &request->objectives[i], &tensor);
        if (status != LIMPID_OK) break;
        limpid_map map = device_map(tensor);
        status = host->emit(job, &map);
        host->tensor_release(job, tensor);
    }
    if (pictures) host->tensor_release(job, pictures);
    return status;
}

/* The line from `black` (position 0) to the picture (position 1): black +
 * position * (picture - black), and its derivative. */
static limpid_path line(const limpid_array *black) {
    static const char graph[] =
        "{\"inputs\": [{\"name\": \"x\"}, {\"name\": \"black\"},"
        "              {\"name\": \"t\", \"shape\": [\"N\", 1, 1, 1]}],"
        " \"nodes\": [{\"op\": \"Sub\", \"inputs\": [\"x\", \"black\"], \"outputs\": [\"v\"]},"
        "             {\"op\": \"Mul\", \"inputs\": [\"v\", \"t\"], \"outputs\": [\"step\"]},"
        "             {\"op\": \"Add\", \"inputs\": [\"black\", \"step\"], \"outputs\": [\"y\"]}],"
        " \"outputs\": [\"y\", \"v\"]}";
    limpid_path path;
    memset(&path, 0, sizeof path);
    limpid_head head = LIMPID_HEAD(limpid_path);
    path.head = head;
    path.flags = LIMPID_PATH_ENDS | LIMPID_PATH_VELOCITY;
    path.ends[0] = 1.0;
    path.graph = text(graph);
    path.statics = black;
    path.static_count = 1;
    path.control_count = 1;
    return path;
}

/* What the map should add up to: the score at the picture less that at black. */
static limpid_status difference(const limpid_host *host, limpid_job job,
                                const limpid_subject *subject, const limpid_objective *score,
                                double *out) {
    limpid_sample ends[2] = { { 0, 1.0 }, { 0, 0.0 } };
    double scores[2];
    limpid_points points;
    memset(&points, 0, sizeof points);
    limpid_head head = LIMPID_HEAD(limpid_points);
    points.head = head;
    points.subject = subject;
    points.objectives = score;
    points.objective_count = 1;
    points.points = ends;
    points.point_count = 2;
    limpid_status status = host->scores(job, &points, scores, 2);
    if (status == LIMPID_OK) *out = scores[0] - scores[1];
    return status;
}

/* The integral of one score's gradient along a path. */
static limpid_status integrate(const struct instance *self, limpid_job job,
                               const limpid_subject *subject, const limpid_objective *score,
                               const limpid_node *nodes) {
    const limpid_host *host = self->host;
    limpid_evaluations before, after;
    limpid_status status = host->evaluations(job, &before);
    if (status != LIMPID_OK) return status;
    limpid_integration request;
    memset(&request, 0, sizeof request);
    limpid_head head = LIMPID_HEAD(limpid_integration);
    request.head = head;
    request.subject = subject;
    request.objective = score;
    request.draws = 1;
    request.nodes = nodes;
    request.node_count = self->count;
    limpid_tensor tensor = 0;
    status = host->integrate(job, &request, &tensor);
    if (status != LIMPID_OK) return status;
    limpid_map map = device_map(tensor);
    map.is_complete = 1;
    status = difference(host, job, subject, score, &map.expected);
    if (status == LIMPID_OK) status = host->evaluations(job, &after);
    if (status == LIMPID_OK) {
        map.evaluations.gradients = after.gradients - before.gradients;
        map.evaluations.forwards = after.forwards - before.forwards;
        status = host->emit(job, &map);
    }
    host->tensor_release(job, tensor);
    return status;
}

static limpid_status integrated_gradients(const struct instance *self, limpid_job job,
                                          const limpid_request *request) {
    uint64_t shape[4] = { 1, request->shape[0], request->shape[1], request->shape[2] };
    uint64_t plane = shape[2] * shape[3];
    float *black = malloc(shape[1] * plane * sizeof *black);
    limpid_node *nodes = malloc(self->count * sizeof *nodes);
    limpid_status status = LIMPID_OK;
    if (!black || !nodes) status = failed(self->host, job, "memory is short");
    if (status == LIMPID_OK) {
        for (uint64_t i = 0; i < shape[1] * plane; i++) black[i] = request->model->black[i / plane];
        for (uint64_t i = 0; i < self->count; i++) {
            nodes[i].position = ((double)i + 0.5) / (double)self->count;
            nodes[i].weight = 1.0 / (double)self->count;
        }
        limpid_array baseline = { black, shape, 4 };
        limpid_path path = line(&baseline);
        limpid_subject subject;
        memset(&subject, 0, sizeof subject);
        limpid_head head = LIMPID_HEAD(limpid_subject);
        subject.head = head;
        subject.picture = request->picture;
        memcpy(subject.shape, request->shape, sizeof subject.shape);
        subject.path = &path;
        for (uint64_t i = 0; status == LIMPID_OK && i < request->objective_count; i++)
            status = integrate(self, job, &subject, &request->objectives[i], nodes);
    }
    free(black);
    free(nodes);
    return status;
}

static limpid_status explain(limpid_instance *instance, limpid_job job,
                             const limpid_request *request) {
    const struct instance *self = (const struct instance *)instance;
    return self->method == BLURRED_GRADIENT ? blurred_gradient(self, job, request)
                                            : integrated_gradients(self, job, request);
}

/* The effective values: those that were given, and the defaults. */
static limpid_status parameters(limpid_instance *instance, const limpid_model *model,
                                const uint64_t *shape, limpid_sink out) {
    const struct instance *self = (const struct instance *)instance;
    const char *name = self->method == BLURRED_GRADIENT ? "scales" : "steps";
    char json[64];
    (void)model, (void)shape;
    snprintf(json, sizeof json, "{\"%s\": %lu}", name, (unsigned long)self->count);
    out.write(out.target, text(json));
    return LIMPID_OK;
}

static void destroy(limpid_instance *instance) { free(instance); }

static limpid_status create(const limpid_host *host, limpid_str method, limpid_str given,
                            uint64_t smooth, limpid_sink error, limpid_instance **out) {
    (void)smooth; /* Neither method has `spread`, so it is 0. */
    struct instance *self = calloc(1, sizeof *self);
    if (!self) {
        error.write(error.target, text("memory is short"));
        return LIMPID_OUT_OF_MEMORY;
    }
    limpid_head head = LIMPID_HEAD(limpid_instance);
    self->base.head = head;
    self->base.parameters = parameters;
    self->base.explain = explain;
    self->base.destroy = destroy;
    self->host = host;
    if (is(method, "blurred-gradient")) {
        self->method = BLURRED_GRADIENT;
        self->count = parameter(given, "scales", 8);
    } else {
        self->method = INTEGRATED_GRADIENTS;
        self->count = parameter(given, "steps", 64);
    }
    *out = &self->base;
    return LIMPID_OK;
}

static const limpid_method blurred_gradient_method = {
    LIMPID_HEAD(limpid_method),
    LIMPID_TEXT("blurred-gradient"),
    LIMPID_TEXT("gradient"),
    LIMPID_TEXT("[C,H,W]"),
    LIMPID_TEXT("the mean of the gradients under blurs of 0, 1, ... pixels"),
    LIMPID_TEXT("{\"scales\": {\"type\": \"integer\", \"default\": 8, \"min\": 1, \"max\": 64,"
                " \"help\": \"the number of blurs\"}}"),
    0,
    LIMPID_CAN_COMPUTE | LIMPID_CAN_PASS,
    0
};

static const limpid_method integrated_gradients_method = {
    LIMPID_HEAD(limpid_method),
    LIMPID_TEXT("c-integrated-gradients"),
    LIMPID_TEXT("path"),
    LIMPID_TEXT("[C,H,W]"),
    LIMPID_TEXT("gradients summed along the straight line from black"),
    LIMPID_TEXT("{\"steps\": {\"type\": \"integer\", \"default\": 64, \"min\": 1, \"max\": 10000,"
                " \"help\": \"gradients on the line\"}}"),
    0,
    LIMPID_CAN_INTEGRATE | LIMPID_CAN_SCORE,
    0
};

static const limpid_method *const methods[] = {
    &blurred_gradient_method,
    &integrated_gradients_method,
};

static const limpid_plugin plugin = {
    LIMPID_HEAD(limpid_plugin),
    LIMPID_TEXT("example-c"),
    LIMPID_TEXT("An example in C"),
    LIMPID_TEXT("0.1.0"),
    methods,
    sizeof methods / sizeof *methods,
    create,
    NULL
};

const limpid_plugin *limpid_plugin_entry(const limpid_host *host, limpid_sink error) {
    /* Who needs a service asks for its capability; this is for what all need. */
    if (host->head.abi_major != LIMPID_ABI_MAJOR) {
        error.write(error.target, text("it was built for version 1 of the interface"));
        return NULL;
    }
    return &plugin;
}
