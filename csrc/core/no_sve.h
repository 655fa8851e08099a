// For files that keep vectors in arrays, which SVE's vectors of unknown size do not allow: leaves
// SVE out of what Highway compiles there. CPUs with SVE run such a file's NEON code, with bf16 dot
// products where they have them. Include before any header of Highway.
#pragma once

#ifdef HIGHWAY_HWY_DETECT_TARGETS_H_
#error "core/no_sve.h must come before Highway's headers"
#endif
#define HWY_BROKEN_SVE (HWY_SVE | HWY_SVE_256)
#define HWY_BROKEN_SVE2 (HWY_SVE2 | HWY_SVE2_128)
