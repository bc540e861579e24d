#pragma once

#include <nanobind/nanobind.h>

namespace chiploop {

void bind_scan(nanobind::module_& module);

}  // namespace chiploop
