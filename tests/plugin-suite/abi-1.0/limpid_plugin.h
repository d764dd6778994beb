// The C interface between Limpid and plugins.
//
// A plugin is a shared library with one symbol, `limpid_plugin_entry`. It is
// handed the host's table of services (`limpid_host`) and returns its own
// (`limpid_plugin`); from then on both talk through these tables.
//
// # Rules
//
// 1. Nothing but pointers, integers and floats of a fixed width, and
//    `limpid_str`, crosses: no `bool`, no C `enum`. An unknown value of a
//    number that chooses is answered with `LIMPID_UNSUPPORTED`.
// 2. A struct that begins with a `limpid_head` may grow at its end. Who
//    fills it writes its own size; who reads it takes what both know, the rest
//    is zero: a missing function is `NULL`, a missing feature. The other
//    structs, which stand in arrays, never change.
// 3. The major version must be equal. The minor version says what may be there
//    and decides nothing: that do the sizes, `limpid_host.capabilities` and
//    the extensions, found by name (`"limpid.attentions/1"`).
// 4. Tensors, jobs and folders are numbers, not pointers: one that is stale,
//    made up or another job's is refused with `LIMPID_INVALID`. Numbers of a
//    tensor are the host's, wherever they lie; they are copied in and out.
// 5. An error has a status and, in its job, a sentence: services leave theirs
//    for `limpid_host.last_error`, a plugin gives its own to
//    `limpid_host.set_error` before it returns a status other than
//    `LIMPID_OK`. Nothing is kept by thread.
// 6. No panic or exception crosses. Whoever catches one answers
//    `LIMPID_PANIC`; an instance that did so is destroyed and not used again.
// 7. Tables and `create` may be used from any thread. An instance is used by
//    one thread at a time; the host makes as many as it needs. Services of a
//    job may be called by the thread that runs it, until `explain` returns;
//    others are answered `LIMPID_WRONG_THREAD`. While a service calls back
//    into the plugin, services that run the model are answered
//    `LIMPID_BUSY`.
// 8. Loops are services: whoever asks for each gradient by itself pays for it.
// 9. A plugin is never unloaded. Its tables and what they point to live as long
//    as the process.
// 10. Whoever makes memory frees it. Text and arrays that are passed are
//     borrowed until the function returns.

#ifndef LIMPID_PLUGIN_H
#define LIMPID_PLUGIN_H

// Made from the crate limpid-plugin-abi by its test `header`. Do not edit.

#include <stdint.h>

// The name of `limpid_attentions`.
#define LIMPID_ATTENTIONS "limpid.attentions/1"

// Before a function or table that is visible outside of the library.
#if defined(_WIN32)
#define LIMPID_EXPORT __declspec(dllexport)
#elif defined(__GNUC__)
#define LIMPID_EXPORT __attribute__((visibility("default")))
#else
#define LIMPID_EXPORT
#endif

// Initialises the head of a struct of a type.
#define LIMPID_HEAD(type) { (uint32_t)sizeof(type), LIMPID_ABI_MAJOR, LIMPID_ABI_MINOR }

// Whether a table, by its pointer, has a function: one that is older than this
// header may end before it.
#define LIMPID_HAS(table, function)                                                       \
    ((uint64_t)((const char *)(&(table)->function + 1) - (const char *)(table)) <=        \
         (table)->head.struct_size &&                                                     \
     (table)->function != 0)

// Initialises a `limpid_str` by a literal.
#define LIMPID_TEXT(literal) { (literal), sizeof(literal) - 1 }

// The interface's major version: plugins and hosts of another do not go together.
#define LIMPID_ABI_MAJOR 1

// The interface's minor version: what was added since the major one.
#define LIMPID_ABI_MINOR 0

// Tensors of the plugin's own, and `compute` and `noise` on them.
#define LIMPID_CAN_COMPUTE (1 << 0)

// `pass`.
#define LIMPID_CAN_PASS (1 << 1)

// `integrate`, `accumulate` and `gradients`.
#define LIMPID_CAN_INTEGRATE (1 << 2)

// `scores`.
#define LIMPID_CAN_SCORE (1 << 3)

// `layer_gradients` and `layer_scores`.
#define LIMPID_CAN_READ_LAYERS (1 << 4)

// `picture`, `pictures_open` and `pictures_read`.
#define LIMPID_CAN_READ_PICTURES (1 << 5)

// The extension `limpid.attentions/1`.
#define LIMPID_CAN_READ_ATTENTIONS (1 << 6)

// All of this version.
#define LIMPID_CAN_ALL ((1 << 7) - 1)

// Something to know that is no error.
#define LIMPID_NOTE 0

// The score itself.
#define LIMPID_LOGIT 0

// The probability of a softmax over all classes.
#define LIMPID_SOFTMAX 1

// The probability of the class by itself.
#define LIMPID_SIGMOID 2

// The mean of the draws' maps.
#define LIMPID_MEAN 0

// The mean of their squares.
#define LIMPID_SQUARED 1

// Their variance.
#define LIMPID_VARIANCE 2

// A map of the channels and pixels of the normalised input, `[C, H, W]`.
#define LIMPID_INPUT 0

// A map on a layer's grid, `[h, w]`.
#define LIMPID_LAYER 1

// A map of pixels, all channels together, `[H, W]`.
#define LIMPID_PIXELS 2

// The path has another end than the picture: `ends` holds both positions.
#define LIMPID_PATH_ENDS 1

// The graph's second output is the points' derivative with respect to the
// position; without it the gradient is multiplied by nothing.
#define LIMPID_PATH_VELOCITY 2

// The graph's last output is what activations are compared with, for the rule
// `deeplift`.
#define LIMPID_PATH_REFERENCE 4

// How a call ended: one of the constants below it.
typedef uint32_t limpid_status;

// What a struct that may grow begins with.
typedef struct limpid_head {
    // The size of the whole struct in bytes, as its writer knows it.
    uint32_t struct_size;
    // `LIMPID_ABI_MAJOR`.
    uint16_t abi_major;
    // `LIMPID_ABI_MINOR`.
    uint16_t abi_minor;
} limpid_head;

// One explanation of one picture, from the beginning of `explain` to its end.
typedef uint64_t limpid_job;

// Text in UTF-8, not terminated. Null with a length of 0 is the empty text.
typedef struct limpid_str {
    // The bytes.
    const char *data;
    // Their number.
    uint64_t len;
} limpid_str;

// A scalar of the model's scores: the sum of `weights` times what is read off
// `classes`.
typedef struct limpid_objective {
    // The classes.
    const uint64_t *classes;
    // Their weights.
    const float *weights;
    // How many there are.
    uint64_t count;
    // `LIMPID_LOGIT`, `LIMPID_SOFTMAX` or `LIMPID_SIGMOID`.
    uint32_t readout;
    // 0.
    uint32_t reserved;
} limpid_objective;

// A picture and layers of the model.
typedef struct limpid_layers {
    // Size and version.
    struct limpid_head head;
    // The normalised picture, `[C, H, W]` in C order.
    const float *picture;
    // C, H and W.
    uint64_t shape[3];
    // The layers' names.
    const struct limpid_str *layers;
    // How many there are.
    uint64_t layer_count;
    // The scores; none for the layers' outputs alone.
    const struct limpid_objective *objectives;
    // How many there are.
    uint64_t objective_count;
} limpid_layers;

// Where a network's tokens lie.
typedef struct limpid_tokens {
    // Size and version.
    struct limpid_head head;
    // The tokens before the picture's: class and register tokens.
    uint64_t before;
    // The rows of the picture's tokens.
    uint64_t rows;
    // Their columns.
    uint64_t columns;
    // 1 where the scores are read from the first token; 0 where all are
    // averaged.
    uint64_t class_token;
} limpid_tokens;

// Numbers where the model runs; 0 is none. Freed by
// `limpid_host.tensor_release`, at the latest when the job ends.
typedef uint64_t limpid_tensor;

// Is shown an attention's weights, `[heads, T, T]`, and the gradient of each
// objective with respect to them: tensors that are the plugin's to release.
typedef limpid_status (*limpid_each_attention)(void *object,
                                               limpid_tensor weights,
                                               const limpid_tensor *gradients,
                                               uint64_t gradient_count);

// The extension `limpid.attentions/1`: the attentions of a network in which
// every token can read every other.
typedef struct limpid_attentions {
    // Size and version.
    struct limpid_head head;
    // Tells where the tokens are, and calls `each` for every attention in the
    // order in which they run. The request's layers are not read.
    limpid_status (*read)(limpid_job job,
                          const struct limpid_layers *request,
                          struct limpid_tokens *tokens,
                          void *object,
                          limpid_each_attention each);
} limpid_attentions;

// Where a function puts text that it makes: `write` may be called several
// times, each text follows the last.
typedef struct limpid_sink {
    // Handed to `write`.
    void *target;
    // Appends text.
    void (*write)(void *target, struct limpid_str text);
} limpid_sink;

// How many times the model ran.
typedef struct limpid_evaluations {
    // Forward passes with a gradient.
    uint64_t gradients;
    // Forward passes without.
    uint64_t forwards;
} limpid_evaluations;

// What a job may take.
typedef struct limpid_limits {
    // Size and version.
    struct limpid_head head;
    // Pictures that are put through the model at once; more are split.
    uint64_t batch;
    // Threads that a plugin may use for work of its own.
    uint64_t threads;
    // Bytes that a job's tensors may take together.
    uint64_t bytes;
} limpid_limits;

// The map of one score.
typedef struct limpid_map {
    // Size and version.
    struct limpid_head head;
    // The map in the plugin's memory, in C order; null where `tensor` is it.
    const float *data;
    // The map where the model runs; extents of 1 before the map's are left out.
    limpid_tensor tensor;
    // The map's extents; may be null with `tensor`.
    const uint64_t *shape;
    // How many there are.
    uint64_t rank;
    // `LIMPID_INPUT`, `LIMPID_LAYER` or `LIMPID_PIXELS`.
    uint32_t domain;
    // 1 where negative values have a meaning, else 0.
    uint32_t has_sign;
    // The layer's name, for `LIMPID_LAYER`.
    struct limpid_str layer;
    // The standard error of each value, of the map's shape; null where it is
    // not estimated.
    const float *standard_error;
    // 1 where `expected` is what the map should add up to, else 0.
    uint32_t is_complete;
    // 0.
    uint32_t reserved;
    // The score at the picture less the score at the path's other end.
    double expected;
    // What it cost; zeros stand for all that the job has evaluated.
    struct limpid_evaluations evaluations;
} limpid_map;

// Pictures that are put through the model where they lie.
typedef struct limpid_pass {
    // Size and version.
    struct limpid_head head;
    // The pictures, `[N, C, H, W]`.
    limpid_tensor pictures;
    // The score of which gradients are taken; null for a forward pass alone.
    const struct limpid_objective *objective;
    // As in `limpid_subject`.
    struct limpid_str rule;
    // The layers whose outputs and gradients are wanted; the empty name stands
    // for the pictures.
    const struct limpid_str *layers;
    // How many there are.
    uint64_t layer_count;
} limpid_pass;

// What pictures became on their way through the model.
typedef struct limpid_passed {
    // Size and version.
    struct limpid_head head;
    // The logits, `[N, classes]`.
    limpid_tensor logits;
    // Room for each layer's output, `[N, ...]`; the plugin's. Null: not wanted.
    limpid_tensor *activations;
    // Room for the gradient with respect to each; the plugin's. Null: not
    // wanted.
    limpid_tensor *gradients;
} limpid_passed;

// Numbers in the plugin's memory, in C order.
typedef struct limpid_array {
    // The numbers.
    const float *data;
    // The extents.
    const uint64_t *shape;
    // How many extents there are.
    uint64_t rank;
} limpid_array;

// A point: which draw of noise, and where on the path.
typedef struct limpid_sample {
    // The draw; the same draw has the same noise everywhere.
    uint64_t draw;
    // Where on the path, in the path's own unit.
    double position;
} limpid_sample;

// What is varied between a picture and its baseline: a part of a graph that
// makes a batch of points out of pictures, where the model runs.
typedef struct limpid_path {
    // Size and version.
    struct limpid_head head;
    // Handed to the functions.
    void *object;
    // `LIMPID_PATH_ENDS`, `LIMPID_PATH_VELOCITY`, `LIMPID_PATH_REFERENCE`.
    uint32_t flags;
    // 0.
    uint32_t reserved;
    // The position of the picture itself and that of the other end.
    double ends[2];
    // The graph in the form that `docs/plugins.md` gives. Its inputs are the
    // pictures (`[1 or N, C, H, W]`, without a shape), then the statics, then
    // the controls (with shapes, in which `"N"` is the batch); its outputs the
    // points `[N, C, H, W]` and what the flags say.
    struct limpid_str graph;
    // Makes the graph for one batch and shape of the pictures, where a text for
    // all does not do. Null: `graph`.
    limpid_status (*build)(void *object,
                           uint64_t batch,
                           const uint64_t *shape,
                           uint64_t rank,
                           struct limpid_sink out);
    // Inputs that do not depend on the position; as many numbers as the graph's
    // inputs have.
    const struct limpid_array *statics;
    // How many there are.
    uint64_t static_count;
    // How many inputs depend on it.
    uint64_t control_count;
    // Writes the values of all controls at `sample_count` points: control i
    // has `lens[i]` numbers at `out[i]`. Null: each control is the positions.
    limpid_status (*controls)(void *object,
                              const struct limpid_sample *samples,
                              uint64_t sample_count,
                              float *const *out,
                              const uint64_t *lens);
} limpid_path;

// What the points of an evaluation have in common.
typedef struct limpid_subject {
    // Size and version.
    struct limpid_head head;
    // The normalised picture, `[C, H, W]` in C order.
    const float *picture;
    // C, H and W.
    uint64_t shape[3];
    // The path; null for the picture itself.
    const struct limpid_path *path;
    // 1 where noise is added before the path, else 0.
    uint32_t noise;
    // The noise's standard deviation, in units of the normalised picture.
    float noise_scale;
    // The noise's seed.
    uint64_t noise_seed;
    // How operators pass gradients on: empty or `standard`,
    // `guided-backpropagation`, `deconvnet`, `deeplift`, or an object of JSON
    // with the rules of a relevance propagation.
    struct limpid_str rule;
} limpid_subject;

// A node of a quadrature.
typedef struct limpid_node {
    // Where on the path.
    double position;
    // Its weight.
    double weight;
} limpid_node;

// For each draw, the sum over the nodes of weight * gradient at the point *
// velocity of the point; then reduced.
typedef struct limpid_integration {
    // Size and version.
    struct limpid_head head;
    // What is evaluated.
    const struct limpid_subject *subject;
    // The score.
    const struct limpid_objective *objective;
    // The number of draws.
    uint64_t draws;
    // The nodes of each draw.
    const struct limpid_node *nodes;
    // How many there are.
    uint64_t node_count;
    // `LIMPID_MEAN`, `LIMPID_SQUARED` or `LIMPID_VARIANCE`.
    uint32_t reduce;
    // 0.
    uint32_t reserved;
} limpid_integration;

// A point with its weight in a sum.
typedef struct limpid_weighted {
    // The point.
    struct limpid_sample sample;
    // The weight.
    double weight;
    // Which of several sums it is added to.
    uint64_t row;
} limpid_weighted;

// Where an accumulation's next points go; the host's.
typedef struct limpid_plan {
    // Size and version.
    struct limpid_head head;
    // Handed to the functions.
    void *object;
    // Appends points.
    limpid_status (*add)(void *object,
                         const struct limpid_weighted *points,
                         uint64_t count);
    // Writes the sums so far, `[rows, C, H, W]`: `len` numbers.
    limpid_status (*sums)(void *object, float *out, uint64_t len);
} limpid_plan;

// Several sums of gradients whose points are chosen as they go.
typedef struct limpid_accumulation {
    // Size and version.
    struct limpid_head head;
    // What is evaluated.
    const struct limpid_subject *subject;
    // The score.
    const struct limpid_objective *objective;
    // The number of sums.
    uint64_t rows;
    // What they begin with, `[rows, C, H, W]`; null for zeros.
    const float *initial;
    // The number of evaluations that are expected, for reports of progress.
    uint64_t expected;
    // Handed to `next`.
    void *object;
    // Puts the next points into the plan; none end the accumulation.
    limpid_status (*next)(void *object, const struct limpid_plan *plan);
} limpid_accumulation;

// Points at which each gradient, or the scores, are asked for.
typedef struct limpid_points {
    // Size and version.
    struct limpid_head head;
    // What is evaluated.
    const struct limpid_subject *subject;
    // The scores; one, where gradients are asked for.
    const struct limpid_objective *objectives;
    // How many there are.
    uint64_t objective_count;
    // The points.
    const struct limpid_sample *points;
    // How many there are.
    uint64_t point_count;
    // 1 where each gradient is multiplied by the path's velocity, else 0.
    uint32_t times_velocity;
    // 0.
    uint32_t reserved;
    // Handed to `visit`.
    void *object;
    // Is shown each point's number and gradient, `[C, H, W]`: `len` numbers.
    limpid_status (*visit)(void *object,
                           uint64_t index,
                           const float *gradient,
                           uint64_t len);
} limpid_points;

// Changed outputs of a layer, from which scores are asked for.
typedef struct limpid_variants {
    // Size and version.
    struct limpid_head head;
    // The picture, one layer, and the scores.
    const struct limpid_layers *at;
    // The number of variants.
    uint64_t count;
    // Handed to `vary`.
    void *object;
    // Makes a variant out of its number and the layer's output, `[C, h, w]`:
    // `len` numbers.
    limpid_status (*vary)(void *object, uint64_t index, float *cells, uint64_t len);
} limpid_variants;

// The pictures of a folder; 0 is none. Freed when the job ends.
typedef uint64_t limpid_pictures;

// What the host does for plugins. All functions but `get_extension` take the
// job that `explain` was given; those that return a status leave a sentence for
// `last_error`.
typedef struct limpid_host {
    // Size and version.
    struct limpid_head head;
    // What it can do: `LIMPID_CAN_...`.
    uint64_t capabilities;
    // The host's version, as in `0.1.0`.
    struct limpid_str version;
    // Puts the sentence of the last service that failed into `out`.
    void (*last_error)(limpid_job job, struct limpid_sink out);
    // Says what went wrong, before `explain` or a callback returns a status.
    void (*set_error)(limpid_job job, struct limpid_str text);
    // 1 once the run is cancelled, else 0. Who computes for long asks often.
    uint32_t (*is_cancelled)(limpid_job job);
    // Reports progress that no service does.
    void (*progress)(limpid_job job, uint64_t done, uint64_t total);
    // Tells the user something; `level` is `LIMPID_NOTE`, others are ignored.
    void (*log)(limpid_job job, uint32_t level, struct limpid_str text);
    // How many times the model ran for this job.
    limpid_status (*evaluations)(limpid_job job, struct limpid_evaluations *out);
    // What the job may take; the caller gives `out` its head.
    limpid_status (*limits)(limpid_job job, struct limpid_limits *out);
    // The map of one score.
    limpid_status (*emit)(limpid_job job, const struct limpid_map *map);
    // A table by name, or null.
    const void *(*get_extension)(struct limpid_str id);
    // A tensor with these numbers in C order; zeros where `data` is null.
    limpid_status (*tensor_new)(limpid_job job,
                                const uint64_t *shape,
                                uint64_t rank,
                                const float *data,
                                limpid_tensor *out);
    // The number of a tensor's extents, of which `capacity` are written.
    limpid_status (*tensor_shape)(limpid_job job,
                                  limpid_tensor tensor,
                                  uint64_t *shape,
                                  uint64_t capacity,
                                  uint64_t *rank);
    // Copies a tensor's numbers, `len` of them, in C order.
    limpid_status (*tensor_read)(limpid_job job,
                                 limpid_tensor tensor,
                                 float *out,
                                 uint64_t len);
    // Frees a tensor.
    limpid_status (*tensor_release)(limpid_job job, limpid_tensor tensor);
    // Runs a graph on tensors where they lie. `graph` has the form that
    // `docs/plugins.md` gives: any of Limpid's operators, with ONNX's names.
    // Inputs without a shape have that of the tensor bound to them.
    limpid_status (*compute)(limpid_job job,
                             struct limpid_str graph,
                             const limpid_tensor *inputs,
                             uint64_t input_count,
                             limpid_tensor *outputs,
                             uint64_t output_count);
    // Pictures `[1 or count, C, H, W]` under Gaussian noise of a standard
    // deviation: picture n with draw `first + n` of the seed.
    limpid_status (*noise)(limpid_job job,
                           limpid_tensor pictures,
                           float scale,
                           uint64_t seed,
                           uint64_t first,
                           uint64_t count,
                           limpid_tensor *out);
    // Puts pictures through the model, and gradients back to any layers.
    limpid_status (*pass)(limpid_job job,
                          const struct limpid_pass *request,
                          struct limpid_passed *out);
    // The map `[C, H, W]` of an integration.
    limpid_status (*integrate)(limpid_job job,
                               const struct limpid_integration *request,
                               limpid_tensor *out);
    // The sums of an accumulation: `out` has room for `rows` tensors `[C, H, W]`.
    limpid_status (*accumulate)(limpid_job job,
                                const struct limpid_accumulation *request,
                                limpid_tensor *out);
    // Shows the gradient at each point in turn.
    limpid_status (*gradients)(limpid_job job, const struct limpid_points *request);
    // The scores at points: for each point a row of `objective_count` values;
    // `len` in all.
    limpid_status (*scores)(limpid_job job,
                            const struct limpid_points *request,
                            double *out,
                            uint64_t len);
    // Layers' outputs and gradients as maps `[C, h, w]`: room for one tensor a
    // layer, and for `objective_count` a layer.
    limpid_status (*layer_gradients)(limpid_job job,
                                     const struct limpid_layers *request,
                                     limpid_tensor *activations,
                                     limpid_tensor *gradients);
    // The scores after changes of a layer's output, a row for each variant;
    // `len` in all.
    limpid_status (*layer_scores)(limpid_job job,
                                  const struct limpid_variants *request,
                                  double *out,
                                  uint64_t len);
    // A picture from a file, made ready as the model's inputs are: `[C, H, W]`.
    limpid_status (*picture)(limpid_job job, struct limpid_str path, limpid_tensor *out);
    // The pictures of a folder, in byte order: their number, and the extents
    // C, H and W that they all have.
    limpid_status (*pictures_open)(limpid_job job,
                                   struct limpid_str folder,
                                   limpid_pictures *out,
                                   uint64_t *count,
                                   uint64_t *shape);
    // Copies one of them, `[C, H, W]`: `len` numbers. May be called while a
    // service calls back.
    limpid_status (*pictures_read)(limpid_job job,
                                   limpid_pictures pictures,
                                   uint64_t index,
                                   float *out,
                                   uint64_t len);
} limpid_host;

// A method of a plugin.
typedef struct limpid_method {
    // Size and version.
    struct limpid_head head;
    // Its id: lower-case letters, digits, `-` and `+`, at most 64.
    struct limpid_str id;
    // Its family: gradient, path, rule, cam, attention, region, perturbation.
    struct limpid_str kind;
    // The shape of its maps: `[C,H,W]`, `[H,W]` or `[h,w]` on a layer's grid.
    struct limpid_str output;
    // What it computes, in a sentence.
    struct limpid_str summary;
    // Its parameters: an object of JSON, `{"steps": {"type": "integer",
    // "default": 64, "min": 1, "max": 10000, "values": null, "help": "..."}}`.
    // The types are integer, float, boolean and string; `values` lists what a
    // string may be. A method that has `spread` is smoothed by `--smooth`.
    struct limpid_str parameters;
    // The draws of noise that it averages over by itself, or 0.
    uint64_t smooth;
    // The capabilities without which it cannot work: a host that lacks one
    // refuses this method. A service whose bit is in neither this nor
    // `optional` is answered `LIMPID_UNSUPPORTED`.
    uint64_t required;
    // The capabilities that it uses where they are there.
    uint64_t optional;
} limpid_method;

// What is known of a model.
typedef struct limpid_model {
    // Size and version.
    struct limpid_head head;
    // The number of scores.
    uint64_t classes;
    // The channels of its input.
    uint64_t channels;
    // Black, in each channel of the normalised input.
    const float *black;
    // White, in each channel of the normalised input.
    const float *white;
    // The layer that a class activation map uses by default; null where there
    // is none.
    struct limpid_str cam_layer;
    // The layers that are maps of the picture, in the order in which they run.
    const struct limpid_str *cam_layers;
    // How many of them there are.
    uint64_t cam_layer_count;
} limpid_model;

// What is to be explained.
typedef struct limpid_request {
    // Size and version.
    struct limpid_head head;
    // The normalised picture, `[C, H, W]` in C order.
    const float *picture;
    // C, H and W.
    uint64_t shape[3];
    // The same picture where the model runs, `[1, C, H, W]`.
    limpid_tensor tensor;
    // The scores; there is a map for each.
    const struct limpid_objective *objectives;
    // How many there are.
    uint64_t objective_count;
    // The seed of everything random.
    uint64_t seed;
    // The model.
    const struct limpid_model *model;
} limpid_request;

// A method with its parameters. A plugin makes it as the first field of a
// struct of its own.
typedef struct limpid_instance {
    // Size and version.
    struct limpid_head head;
    // 1 where noise is averaged over around the method by `--smooth`, else 0.
    uint32_t smoothed;
    // 0.
    uint32_t reserved;
    // Puts the effective values of all parameters for a model and a picture
    // `[C, H, W]` into `out`, as an object of JSON. Null: those that were given.
    limpid_status (*parameters)(struct limpid_instance *instance,
                                const struct limpid_model *model,
                                const uint64_t *shape,
                                struct limpid_sink out);
    // Explains a picture: calls `limpid_host.emit` once for each score, in
    // their order.
    limpid_status (*explain)(struct limpid_instance *instance,
                             limpid_job job,
                             const struct limpid_request *request);
    // Frees it.
    void (*destroy)(struct limpid_instance *instance);
} limpid_instance;

// A plugin.
typedef struct limpid_plugin {
    // Size and version.
    struct limpid_head head;
    // Who it is: lower-case letters, digits and `-`, at most 64; its methods
    // are called `<id>/<method>`.
    struct limpid_str id;
    // Its name, for people.
    struct limpid_str name;
    // Its version, as in `1.2.3`.
    struct limpid_str version;
    // Its methods, `method_count` pointers.
    const struct limpid_method *const *methods;
    // How many methods it has.
    uint64_t method_count;
    // Makes a method: `method` is its id, `parameters` an object of JSON with
    // the values that were given, which fit the method's schema, `smooth` the
    // draws of noise that `--smooth` asks for, or 0. What is wrong goes to
    // `error`.
    limpid_status (*create)(const struct limpid_host *host,
                            struct limpid_str method,
                            struct limpid_str parameters,
                            uint64_t smooth,
                            struct limpid_sink error,
                            struct limpid_instance **out);
    // A table of the plugin's by name, or null. None is known to this version.
    const void *(*get_extension)(struct limpid_str id);
} limpid_plugin;

// It did what it was asked for.
#define LIMPID_OK 0

// The run was cancelled: return as soon as possible.
#define LIMPID_CANCELLED 1

// The host, the device or the plugin cannot do it.
#define LIMPID_UNSUPPORTED 2

// An argument is wrong.
#define LIMPID_INVALID 3

// Memory is short, or the job may not take so much.
#define LIMPID_OUT_OF_MEMORY 4

// The device is gone; no service of the job will work.
#define LIMPID_DEVICE_LOST 5

// A panic or exception was caught.
#define LIMPID_PANIC 6

// Anything else.
#define LIMPID_FAILED 7

// A service was called by a thread that does not run the job.
#define LIMPID_WRONG_THREAD 8

// A service that runs the model was called from a callback of another.
#define LIMPID_BUSY 9

#ifdef __cplusplus
extern "C" {
#endif

// What a plugin exports. It is called once, before anything else of the plugin.
// The host's table lives as long as the process; so must what is returned. NULL
// where the plugin cannot live with this host, with a sentence in `error`.
LIMPID_EXPORT const limpid_plugin *limpid_plugin_entry(const limpid_host *host,
                                                       limpid_sink error);

#ifdef __cplusplus
}
#endif

#endif // LIMPID_PLUGIN_H
