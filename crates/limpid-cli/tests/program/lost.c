/* A driver that gives its device up: loaded before the program, it lets waiting
   for the adapter fail after LOSE_AFTER times. Vulkan's loader is asked for by
   name at run time, so dlsym is where its functions can be replaced. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

enum { VK_ERROR_DEVICE_LOST = -4 };

typedef void *(*get_address)(void *, const char *);
static get_address of_instance, of_device;
static int (*wait_semaphores)(void *, const void *, uint64_t);
static int (*wait_fences)(void *, uint32_t, const void *, uint32_t, uint64_t);
static int waits;

static int is_lost(void) { return ++waits > atoi(getenv("LOSE_AFTER")); }

static int own_semaphores(void *device, const void *info, uint64_t timeout) {
    return is_lost() ? VK_ERROR_DEVICE_LOST : wait_semaphores(device, info, timeout);
}

static int own_fences(void *device, uint32_t n, const void *fences, uint32_t all, uint64_t timeout) {
    return is_lost() ? VK_ERROR_DEVICE_LOST : wait_fences(device, n, fences, all, timeout);
}

static void *replaced(const char *name, void *found) {
    if (!found) return found;
    if (!strcmp(name, "vkWaitSemaphores") || !strcmp(name, "vkWaitSemaphoresKHR")) {
        wait_semaphores = found;
        return own_semaphores;
    }
    if (!strcmp(name, "vkWaitForFences")) {
        wait_fences = found;
        return own_fences;
    }
    return found;
}

static void *device_address(void *device, const char *name) {
    return replaced(name, of_device(device, name));
}

static void *instance_address(void *instance, const char *name) {
    void *found = of_instance(instance, name);
    if (found && !strcmp(name, "vkGetDeviceProcAddr")) {
        of_device = found;
        return device_address;
    }
    return replaced(name, found);
}

void *dlsym(void *library, const char *name) {
    static void *(*real)(void *, const char *);
    if (!real) real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.34");
    if (!real) real = dlvsym(RTLD_NEXT, "dlsym", "GLIBC_2.2.5");
    void *found = real(library, name);
    Dl_info about;
    /* Drivers have a function of this name, too; it is the loader's that counts. */
    if (found && !strcmp(name, "vkGetInstanceProcAddr") && dladdr(found, &about)
        && about.dli_fname && strstr(about.dli_fname, "libvulkan.so")) {
        of_instance = found;
        return instance_address;
    }
    return found;
}
