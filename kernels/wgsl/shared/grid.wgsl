// A launch may be cut into several, and its workgroups lie in a plane, since
// no axis can have more than 65,535. A workgroup whose number is not below
// the launch's `end` has nothing to do.

fn workgroup_number(id: vec3<u32>, count: vec3<u32>, base: u32) -> u32 {
    return base + id.x + id.y * count.x;
}
