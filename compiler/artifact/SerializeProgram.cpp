// Turns the description of a program into the flatbuffer of the artifact's program section.
// Defaults are written out, so that the size is known before the last scalars (a weight's error)
// are.
#include "compiler/artifact/ProgramDescription.h"

using namespace kiln;

std::vector<uint8_t> kiln::serializeProgram(const schema::ProgramT &program) {
  flatbuffers::FlatBufferBuilder builder(1 << 16);
  builder.ForceDefaults(true);
  schema::FinishProgramBuffer(builder, schema::CreateProgram(builder, &program));
  return {builder.GetBufferPointer(), builder.GetBufferPointer() + builder.GetSize()};
}
