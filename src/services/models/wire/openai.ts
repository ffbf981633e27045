export { OpenAIResponsesLanguageModel } from '@ai-sdk/openai/internal'
