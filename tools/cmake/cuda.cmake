# JUXTA_CUDA: nvcc for kernels/*.cu, and the CUDA runtime linked statically, so that programs start on machines without
# CUDA too: it opens the driver when a device is first asked for.
if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
  find_program(JUXTA_NVCC nvcc PATHS /usr/local/cuda/bin DOC "The CUDA compiler")
  if(NOT JUXTA_NVCC)
    message(FATAL_ERROR "JUXTA_CUDA=ON needs nvcc (CUDA 12 or newer): put it on PATH or set CMAKE_CUDA_COMPILER; "
                        "the other presets build without it")
  endif()
  set(CMAKE_CUDA_COMPILER ${JUXTA_NVCC})
endif()
if(NOT CMAKE_CUDA_HOST_COMPILER)
  set(CMAKE_CUDA_HOST_COMPILER ${CMAKE_CXX_COMPILER})
endif()
if(NOT CMAKE_CUDA_ARCHITECTURES)
  set(CMAKE_CUDA_ARCHITECTURES 80-real 90)  # 90 also as PTX, for devices that are newer
endif()
enable_language(CUDA)
if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know yet that nvcc 12 has it
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
endif()
set(CMAKE_CUDA_STANDARD 20)
set(CMAKE_CUDA_STANDARD_REQUIRED ON)
find_package(CUDAToolkit 12 REQUIRED)
