#pragma once
// The makers of all systems, one file each in this folder.
#include <memory>

#include "ssl/methods/method.h"

namespace juxta::ssl {

std::unique_ptr<Method> make_simclr();
std::unique_ptr<Method> make_moco();
std::unique_ptr<Method> make_byol();

}  // namespace juxta::ssl
