#pragma once

#include <nanobind/nanobind.h>

namespace chiploop {

void bind_timed(nanobind::module_& module);

}  // namespace chiploop
