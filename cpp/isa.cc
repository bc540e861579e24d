// Which instruction sets there are, which of them this machine has, and the kernels of each.
#include "kernel.h"

namespace chiploop {

const char* name_of(Isa isa) {
  switch (isa) {
    case Isa::avx512: return "avx512";
    case Isa::avx2: return "avx2";
    case Isa::neon: return "neon";
    default: return "portable";
  }
}

std::vector<Isa> available_isas() {
  std::vector<Isa> isas;
  if (has_avx512()) isas.push_back(Isa::avx512);
  if (has_avx2()) isas.push_back(Isa::avx2);
  if (has_neon()) isas.push_back(Isa::neon);
  isas.push_back(Isa::portable);
  return isas;
}

Kernels kernels_for(const Core& core, Isa isa) {
  if (core.is_general) return general_kernels(core);
  switch (isa) {
    case Isa::avx512: return avx512_kernels(core);
    case Isa::avx2: return avx2_kernels(core);
    case Isa::neon: return neon_kernels(core);
    default: return portable_kernels(core);
  }
}

}  // namespace chiploop
