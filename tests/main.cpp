// juxta_tests [--gpu] [--gtest_...]: all tests. --gpu also runs every emulated case on the first CUDA device.
#include <gtest/gtest.h>

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
