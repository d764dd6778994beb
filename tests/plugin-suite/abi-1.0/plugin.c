/* A plugin of version 1.0 of the interface. Never edit this file. */
#include "limpid_plugin.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct instance {
    limpid_instance base;
    const limpid_host *host;
    limpid_status (*run)(const limpid_host *, limpid_job, const limpid_request *,
                         const limpid_objective *);
};

static limpid_str text(const char *words) {
    limpid_str result;
    result.data = words;
    result.len = strlen(words);
    return result;
}

static limpid_map empty_map(void) {
    limpid_map map;
    limpid_head head = LIMPID_HEAD(limpid_map);
    memset(&map, 0, sizeof map);
    map.head = head;
    map.has_sign = 1;
    return map;
}

static limpid_subject subject_of(const limpid_request *request, const limpid_path *path) {
    limpid_subject subject;
    limpid_head head = LIMPID_HEAD(limpid_subject);
    memset(&subject, 0, sizeof subject);
    subject.head = head;
    subject.picture = request->picture;
    memcpy(subject.shape, request->shape, sizeof subject.shape);
    subject.path = path;
    return subject;
}

/* gradient: one pass. */
static limpid_status gradient(const limpid_host *host, limpid_job job,
                              const limpid_request *request, const limpid_objective *score) {
    limpid_str layer = { NULL, 0 };
    limpid_tensor out = 0;
    limpid_pass wanted;
    limpid_passed passed;
    limpid_head head = LIMPID_HEAD(limpid_pass), passed_head = LIMPID_HEAD(limpid_passed);
    memset(&wanted, 0, sizeof wanted);
    memset(&passed, 0, sizeof passed);
    wanted.head = head;
    wanted.pictures = request->tensor;
    wanted.objective = score;
    wanted.layers = &layer;
    wanted.layer_count = 1;
    passed.head = passed_head;
    passed.gradients = &out;
    limpid_status status = host->pass(job, &wanted, &passed);
    if (status != LIMPID_OK) return status;
    limpid_map map = empty_map();
    map.tensor = out;
    map.domain = LIMPID_INPUT;
    map.evaluations.gradients = 1;
    status = host->emit(job, &map);
    host->tensor_release(job, out);
    host->tensor_release(job, passed.logits);
    return status;
}

struct visited {
    float *numbers;
    uint64_t len;
};

static limpid_status visit(void *object, uint64_t index, const float *numbers, uint64_t len) {
    struct visited *visited = object;
    if (index != 0 || len != visited->len) return LIMPID_INVALID;
    memcpy(visited->numbers, numbers, len * sizeof *numbers);
    return LIMPID_OK;
}

/* visited-gradient: the same, shown to a callback, and a map in own memory. */
static limpid_status visited_gradient(const limpid_host *host, limpid_job job,
                                      const limpid_request *request,
                                      const limpid_objective *score) {
    struct visited visited;
    visited.len = request->shape[0] * request->shape[1] * request->shape[2];
    visited.numbers = malloc(visited.len * sizeof *visited.numbers);
    if (!visited.numbers) return LIMPID_OUT_OF_MEMORY;
    limpid_subject subject = subject_of(request, NULL);
    limpid_sample sample = { 0, 0.0 };
    limpid_points points;
    limpid_head head = LIMPID_HEAD(limpid_points);
    memset(&points, 0, sizeof points);
    points.head = head;
    points.subject = &subject;
    points.objectives = score;
    points.objective_count = 1;
    points.points = &sample;
    points.point_count = 1;
    points.object = &visited;
    points.visit = visit;
    limpid_status status = host->gradients(job, &points);
    if (status == LIMPID_OK) {
        limpid_map map = empty_map();
        map.data = visited.numbers;
        map.shape = request->shape;
        map.rank = 3;
        map.domain = LIMPID_INPUT;
        map.evaluations.gradients = 1;
        status = host->emit(job, &map);
    }
    free(visited.numbers);
    return status;
}

static limpid_status build(void *object, uint64_t batch, const uint64_t *shape, uint64_t rank,
                           limpid_sink out) {
    char graph[1024];
    (void)object;
    if (rank != 4) return LIMPID_INVALID;
    snprintf(graph, sizeof graph,
             "{\"inputs\": [{\"name\": \"x\", \"shape\": [%lu, %lu, %lu, %lu]},"
             " {\"name\": \"black\", \"shape\": [1, %lu, %lu, %lu]},"
             " {\"name\": \"t\", \"shape\": [%lu, 1, 1, 1]}], \"nodes\": [",
             (unsigned long)shape[0], (unsigned long)shape[1], (unsigned long)shape[2],
             (unsigned long)shape[3], (unsigned long)shape[1], (unsigned long)shape[2],
             (unsigned long)shape[3], (unsigned long)batch);
    out.write(out.target, text(graph));
    out.write(out.target,
              text("{\"op\": \"Sub\", \"inputs\": [\"x\", \"black\"], \"outputs\": [\"v\"]},"
                   "{\"op\": \"Mul\", \"inputs\": [\"v\", \"t\"], \"outputs\": [\"s\"]},"
                   "{\"op\": \"Add\", \"inputs\": [\"black\", \"s\"], \"outputs\": [\"y\"]}],"
                   "\"outputs\": [\"y\", \"v\"]}"));
    return LIMPID_OK;
}

static limpid_status controls(void *object, const limpid_sample *samples, uint64_t count,
                              float *const *out, const uint64_t *lens) {
    (void)object;
    if (lens[0] != count) return LIMPID_INVALID;
    for (uint64_t i = 0; i < count; i++) out[0][i] = (float)samples[i].position;
    return LIMPID_OK;
}

enum { STEPS = 10 };

/* integrated-gradients: ten midpoints from black, by functions of the plugin's. */
static limpid_status integrated_gradients(const limpid_host *host, limpid_job job,
                                          const limpid_request *request,
                                          const limpid_objective *score) {
    uint64_t shape[4] = { 1, request->shape[0], request->shape[1], request->shape[2] };
    uint64_t plane = shape[2] * shape[3];
    float *black = malloc(shape[1] * plane * sizeof *black);
    if (!black) return LIMPID_OUT_OF_MEMORY;
    for (uint64_t i = 0; i < shape[1] * plane; i++) black[i] = request->model->black[i / plane];
    limpid_array statics = { black, shape, 4 };
    limpid_path path;
    limpid_head path_head = LIMPID_HEAD(limpid_path);
    memset(&path, 0, sizeof path);
    path.head = path_head;
    path.flags = LIMPID_PATH_ENDS | LIMPID_PATH_VELOCITY;
    path.ends[0] = 1.0;
    path.build = build;
    path.statics = &statics;
    path.static_count = 1;
    path.control_count = 1;
    path.controls = controls;
    limpid_subject subject = subject_of(request, &path);
    limpid_node nodes[STEPS];
    for (int i = 0; i < STEPS; i++) {
        nodes[i].position = (i + 0.5) / STEPS;
        nodes[i].weight = 1.0 / STEPS;
    }
    limpid_integration integration;
    limpid_head head = LIMPID_HEAD(limpid_integration);
    memset(&integration, 0, sizeof integration);
    integration.head = head;
    integration.subject = &subject;
    integration.objective = score;
    integration.draws = 1;
    integration.nodes = nodes;
    integration.node_count = STEPS;
    limpid_tensor tensor = 0;
    limpid_status status = host->integrate(job, &integration, &tensor);
    limpid_sample ends[2] = { { 0, 1.0 }, { 0, 0.0 } };
    double scores[2] = { 0.0, 0.0 };
    if (status == LIMPID_OK) {
        limpid_points points;
        limpid_head points_head = LIMPID_HEAD(limpid_points);
        memset(&points, 0, sizeof points);
        points.head = points_head;
        points.subject = &subject;
        points.objectives = score;
        points.objective_count = 1;
        points.points = ends;
        points.point_count = 2;
        status = host->scores(job, &points, scores, 2);
    }
    if (status == LIMPID_OK) {
        limpid_map map = empty_map();
        map.tensor = tensor;
        map.domain = LIMPID_INPUT;
        map.is_complete = 1;
        map.expected = scores[0] - scores[1];
        map.evaluations.gradients = STEPS;
        map.evaluations.forwards = 2;
        status = host->emit(job, &map);
    }
    if (tensor) host->tensor_release(job, tensor);
    free(black);
    return status;
}

/* The sum in eight parts, as Limpid's own. */
static double sum(const float *numbers, uint64_t len) {
    double parts[8] = { 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0 }, all = 0.0;
    for (uint64_t i = 0; i < len; i++) parts[i % 8] += numbers[i];
    for (int i = 0; i < 8; i++) all += parts[i];
    return all;
}

/* grad-cam: at the model's default layer. It asks for no capability, and says
 * so where the host has none. */
static limpid_status grad_cam(const limpid_host *host, limpid_job job,
                              const limpid_request *request, const limpid_objective *score) {
    if (!LIMPID_HAS(host, layer_gradients)) {
        host->set_error(job, text("this host does not read layers"));
        return LIMPID_UNSUPPORTED;
    }
    limpid_layers layers;
    limpid_head head = LIMPID_HEAD(limpid_layers);
    memset(&layers, 0, sizeof layers);
    layers.head = head;
    layers.picture = request->picture;
    memcpy(layers.shape, request->shape, sizeof layers.shape);
    layers.layers = &request->model->cam_layer;
    layers.layer_count = 1;
    layers.objectives = score;
    layers.objective_count = 1;
    limpid_tensor tensors[2] = { 0, 0 };
    limpid_status status = host->layer_gradients(job, &layers, &tensors[0], &tensors[1]);
    if (status != LIMPID_OK) return status;
    uint64_t shape[3] = { 0, 0, 0 }, rank = 0;
    status = host->tensor_shape(job, tensors[0], shape, 3, &rank);
    uint64_t plane = shape[1] * shape[2], len = shape[0] * plane;
    float *numbers = malloc((2 * len + plane) * sizeof *numbers);
    double *total = calloc(plane, sizeof *total);
    if (status == LIMPID_OK && (rank != 3 || !numbers || !total)) status = LIMPID_FAILED;
    if (status == LIMPID_OK) status = host->tensor_read(job, tensors[0], numbers, len);
    if (status == LIMPID_OK) status = host->tensor_read(job, tensors[1], numbers + len, len);
    if (status == LIMPID_OK) {
        float *out = numbers + 2 * len;
        for (uint64_t c = 0; c < shape[0]; c++) {
            double weight = sum(numbers + len + c * plane, plane) / (double)plane;
            for (uint64_t i = 0; i < plane; i++) total[i] += weight * numbers[c * plane + i];
        }
        for (uint64_t i = 0; i < plane; i++) out[i] = (float)(total[i] > 0.0 ? total[i] : 0.0);
        limpid_map map = empty_map();
        map.data = out;
        map.shape = shape + 1;
        map.rank = 2;
        map.domain = LIMPID_LAYER;
        map.layer = request->model->cam_layer;
        map.has_sign = 0;
        status = host->emit(job, &map);
    }
    host->tensor_release(job, tensors[0]);
    host->tensor_release(job, tensors[1]);
    free(numbers);
    free(total);
    return status;
}

static limpid_status explain(limpid_instance *instance, limpid_job job,
                             const limpid_request *request) {
    const struct instance *self = (const struct instance *)instance;
    for (uint64_t i = 0; i < request->objective_count; i++) {
        if (self->host->is_cancelled(job)) return LIMPID_CANCELLED;
        limpid_status status = self->run(self->host, job, request, &request->objectives[i]);
        if (status != LIMPID_OK) return status;
    }
    return LIMPID_OK;
}

static void destroy(limpid_instance *instance) { free(instance); }

static int is(limpid_str found, const char *expected) {
    return found.len == strlen(expected) && memcmp(found.data, expected, found.len) == 0;
}

static limpid_status create(const limpid_host *host, limpid_str method, limpid_str parameters,
                            uint64_t smooth, limpid_sink error, limpid_instance **out) {
    limpid_head head = LIMPID_HEAD(limpid_instance);
    struct instance *self = calloc(1, sizeof *self);
    (void)parameters, (void)smooth;
    if (!self) return LIMPID_OUT_OF_MEMORY;
    self->base.head = head;
    self->base.explain = explain;
    self->base.destroy = destroy;
    self->host = host;
    if (is(method, "gradient")) self->run = gradient;
    if (is(method, "visited-gradient")) self->run = visited_gradient;
    if (is(method, "integrated-gradients")) self->run = integrated_gradients;
    if (is(method, "grad-cam") || is(method, "needy-grad-cam")) self->run = grad_cam;
    if (!self->run) {
        free(self);
        error.write(error.target, text("there is no such method"));
        return LIMPID_INVALID;
    }
    *out = &self->base;
    return LIMPID_OK;
}

#define METHOD(variable, id, kind, output, required, optional)                               \
    static const limpid_method variable = {                                                 \
        LIMPID_HEAD(limpid_method), LIMPID_TEXT(id), LIMPID_TEXT(kind), LIMPID_TEXT(output), \
        LIMPID_TEXT("a method of version 1.0"), { NULL, 0 }, 0, required, optional            \
    }

METHOD(one, "gradient", "gradient", "[C,H,W]", LIMPID_CAN_PASS, 0);
METHOD(two, "visited-gradient", "gradient", "[C,H,W]", LIMPID_CAN_INTEGRATE, 0);
METHOD(three, "integrated-gradients", "path", "[C,H,W]", LIMPID_CAN_INTEGRATE | LIMPID_CAN_SCORE,
       0);
METHOD(four, "grad-cam", "cam", "[h,w]", 0, LIMPID_CAN_READ_LAYERS);
METHOD(five, "needy-grad-cam", "cam", "[h,w]", LIMPID_CAN_READ_LAYERS, 0);

static const limpid_method *const methods[] = { &one, &two, &three, &four, &five };

static const limpid_plugin plugin = {
    LIMPID_HEAD(limpid_plugin), LIMPID_TEXT("abi-1-0"), LIMPID_TEXT("Version 1.0"),
    LIMPID_TEXT("1.0.0"), methods, sizeof methods / sizeof *methods, create, NULL
};

const limpid_plugin *limpid_plugin_entry(const limpid_host *host, limpid_sink error) {
    if (host->head.abi_major != LIMPID_ABI_MAJOR) {
        error.write(error.target, text("this plugin is of version 1 of the interface"));
        return NULL;
    }
    return &plugin;
}
