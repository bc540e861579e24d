#pragma once

#include <nanobind/nanobind.h>

namespace chiploop {

void bind_input(nanobind::module_& module);

}  // namespace chiploop
