// Stands in a Worker for two experiments of the AI SDK, each of which brings a second copy of the SDK's own tools. Its
// providers name them and nothing here makes one.
class LeftOut {
  constructor() {
    throw new Error('This model of the AI SDK is left out of the Worker.')
  }
}

export { LeftOut as Experimental_DecisionLanguageModel, LeftOut as Experimental_ExtractionLanguageModel }
